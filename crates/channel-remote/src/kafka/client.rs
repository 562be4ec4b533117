//! A cluster of Kafka: who leads which topic, and the few requests that logs need. Each topic has one partition.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::create_topics_response::CreateTopicsResponse;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kafka_protocol::messages::delete_records_response::DeleteRecordsResponse;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::FetchResponse;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsResponse;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::MetadataResponse;
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::produce_response::ProduceResponse;
use kafka_protocol::messages::{ApiKey, BrokerId, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record, RecordBatchDecoder, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};
use parking_lot::Mutex;
use plexspaces_trust::Trust;
use plexspaces_types::{Code, Failure};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

use super::wire::{Connection, Fault};
use super::{Config, Login, PATIENCE};

/// Errors of Kafka that this program tells apart.
pub(super) const OUT_OF_RANGE: i16 = 1;
pub(super) const NO_TOPIC: i16 = 3;
const TOO_LARGE: [i16; 2] = [10, 18];
const EXISTS: i16 = 36;
/// Those that pass: there is no leader, it is another one, or it has not heard of the topic yet.
const PASSING: [i16; 7] = [NO_TOPIC, 5, 6, 9, 74, 75, 76];

/// Bytes of records that are read at once; a single record may have more.
pub(super) const READ_BYTES: i32 = 4 << 20;

/// How long one wait for news takes at a broker, so that it hears soon of further topics.
const LISTEN: Duration = Duration::from_millis(250);

/// Topics of which it is remembered who leads them.
const MAX_KNOWN: usize = 40_000;

/// The key of a record's header in which the command is.
const HEADER: &str = "plexspaces";

/// What is put into a log.
#[derive(Clone, Default)]
pub(super) struct Entry {
    /// Where it is.
    pub(super) offset: i64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
    /// JSON text.
    pub(super) command: Option<Bytes>,
    /// A message.
    pub(super) body: Option<Bytes>,
}

/// What was read of a log.
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    /// Where the log ends and begins.
    pub(super) end: i64,
    pub(super) start: i64,
}

/// The connection to an address, and when it was last found out that there is none to be had, and why.
#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    failed: Option<(Instant, String)>,
}

type Shared = Arc<tokio::sync::Mutex<Slot>>;

pub(super) struct Client {
    bootstrap: Vec<String>,
    tls: Option<TlsConnector>,
    login: Option<Login>,
    replicas: i16,
    /// By address and whether it is one to listen at, where requests wait.
    connections: Mutex<HashMap<(String, bool), Shared>>,
    /// The leaders of topics.
    leaders: Mutex<HashMap<String, String>>,
    /// Topics that are listened to by somebody: from where on, and whom to tell.
    wanted: Mutex<HashMap<String, (i64, Arc<Notify>)>>,
    /// Where somebody listens.
    listening: Mutex<std::collections::HashSet<String>>,
}

impl Client {
    pub(super) fn new(config: &Config) -> Result<Self, Failure> {
        if config.bootstrap.is_empty() {
            return Err(Failure::invalid("channels.kafka.bootstrap", "channels.kafka.bootstrap is empty, expected [\"host:port\"]"));
        }
        for address in &config.bootstrap {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(['/', '@']));
            if port.and_then(|(_, port)| port.parse::<u16>().ok()).is_none() {
                let message = "an address in channels.kafka.bootstrap cannot be read, expected host:port";
                return Err(Failure::invalid("channels.kafka.bootstrap", message));
            }
        }
        let tls = match config.tls {
            true => Some(TlsConnector::from(Arc::new(Trust::with(config.ca_file.as_deref())?.tls))),
            false => None,
        };
        Ok(Self {
            bootstrap: config.bootstrap.clone(),
            tls,
            login: config.login.clone(),
            replicas: config.replicas,
            connections: Mutex::default(),
            leaders: Mutex::default(),
            wanted: Mutex::default(),
            listening: Mutex::default(),
        })
    }

    pub(super) fn failure(&self, fault: &Fault) -> Failure {
        let place = self.bootstrap.join(",");
        if fault.code().is_some_and(|code| TOO_LARGE.contains(&code)) {
            let message = format!("the message is larger than what Kafka ({place}) takes: {fault}");
            return Failure::new(Code::PayloadTooLarge, message).with_field("payload");
        }
        Failure::new(Code::Unavailable, format!("the message broker Kafka ({place}) does not answer: {fault}"))
    }

    /// The connection to an address, which is made if there is none.
    async fn connection(&self, address: &str, listens: bool) -> Result<Arc<Connection>, Fault> {
        let asked = Instant::now();
        let slot = self.connections.lock().entry((address.to_owned(), listens)).or_default().clone();
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        // Those who wait for the same attempt are told of it together.
        if let Some((_, why)) = slot.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(Fault::Unsent(why.clone()));
        }
        match Connection::open(address, self.tls.as_ref(), self.login.as_ref(), PATIENCE).await {
            Ok(opened) => Ok(slot.connection.insert(Arc::new(opened)).clone()),
            Err(fault) => {
                slot.failed = Some((Instant::now(), fault.to_string()));
                Err(fault)
            }
        }
    }

    /// Gives a connection up on which nothing came back.
    fn give_up(&self, address: &str, listens: bool) {
        self.connections.lock().remove(&(address.to_owned(), listens));
    }

    /// What the cluster says about topics, from the first of its brokers that answers.
    async fn metadata(&self, topic: &str) -> Result<MetadataResponse, Fault> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]))
            .with_allow_auto_topic_creation(false);
        let mut last = Fault::Unsent("no address".to_owned());
        for address in &self.bootstrap {
            let answer = match self.connection(address, false).await {
                Ok(connection) => connection.call(ApiKey::Metadata, 8, &request, PATIENCE).await,
                Err(fault) => Err(fault),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(fault) => {
                    if matches!(fault, Fault::Lost(_)) {
                        self.give_up(address, false);
                    }
                    last = fault;
                }
            }
        }
        Err(Fault::Unsent(last.to_string()))
    }

    fn address(metadata: &MetadataResponse, id: BrokerId) -> Option<String> {
        let broker = metadata.brokers.iter().find(|broker| broker.node_id == id)?;
        Some(format!("{}:{}", broker.host.as_str(), broker.port))
    }

    /// The leader of a topic.
    pub(super) async fn leader(&self, topic: &str) -> Result<String, Fault> {
        if let Some(address) = self.leaders.lock().get(topic) {
            return Ok(address.clone());
        }
        let metadata = self.metadata(topic).await?;
        let refused = |code| Fault::Refused(code, String::new());
        let found = metadata.topics.first().ok_or_else(|| refused(NO_TOPIC))?;
        if found.error_code != 0 {
            return Err(refused(found.error_code));
        }
        let partition = found.partitions.iter().find(|partition| partition.partition_index == 0).ok_or_else(|| refused(5))?;
        let address = Self::address(&metadata, partition.leader_id).ok_or_else(|| refused(5))?;
        let mut leaders = self.leaders.lock();
        if leaders.len() >= MAX_KNOWN {
            leaders.clear();
        }
        leaders.insert(topic.to_owned(), address.clone());
        Ok(address)
    }

    /// Makes a topic with one partition unless it is there.
    pub(super) async fn create(&self, topic: &str, settings: &[(&'static str, String)]) -> Result<(), Fault> {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let setting = |(name, value): &(&'static str, String)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value.clone())))
        };
        let topics = vec![
            CreatableTopic::default()
                .with_name(name)
                .with_num_partitions(1)
                .with_replication_factor(self.replicas)
                .with_configs(settings.iter().map(setting).collect()),
        ];
        let request = CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(milliseconds(PATIENCE));
        let metadata = self.metadata(topic).await?;
        let address = Self::address(&metadata, metadata.controller_id).or_else(|| self.bootstrap.first().cloned());
        let address = address.ok_or_else(|| Fault::Unsent("there is no controller".to_owned()))?;
        let connection = self.connection(&address, false).await?;
        let answer: CreateTopicsResponse = connection.call(ApiKey::CreateTopics, 5, &request, PATIENCE * 2).await?;
        match answer.topics.first().map(|topic| (topic.error_code, topic.error_message.clone())) {
            Some((0 | EXISTS, _)) => Ok(()),
            Some((code, message)) => Err(Fault::Refused(code, message.map(|text| text.to_string()).unwrap_or_default())),
            None => Err(Fault::Lost("it does not say whether the topic was made".to_owned())),
        }
    }

    /// Asks the leader of a topic until it answers otherwise than with a passing error. What may have been carried out is not sent again.
    async fn at_leader<Q: Encodable + HeaderVersion, A: Decodable + HeaderVersion, T>(
        &self,
        topic: &str,
        (key, version): (ApiKey, i16),
        request: &Q,
        read: impl Fn(A) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(20);
        loop {
            let mut address = None;
            let answer = match self.leader(topic).await {
                Ok(leader) => match self.connection(address.insert(leader), false).await {
                    Ok(connection) => connection.call(key, version, request, PATIENCE).await.and_then(&read),
                    Err(fault) => Err(fault),
                },
                Err(fault) => Err(fault),
            };
            let fault = match answer {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let passes = match &fault {
                Fault::Refused(code, _) => PASSING.contains(code),
                Fault::Unsent(_) => true,
                Fault::Lost(_) => false,
            };
            if passes || matches!(fault, Fault::Lost(_)) {
                self.leaders.lock().remove(topic);
                if let (Some(address), Fault::Lost(_)) = (&address, &fault) {
                    self.give_up(address, false);
                }
            }
            if !passes || Instant::now() + pause >= deadline {
                return Err(fault);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// Puts entries into a log, together or not at all; where the first of them is. Acknowledged by all replicas that must have it.
    pub(super) async fn produce(&self, topic: &str, entries: &[Entry]) -> Result<i64, Fault> {
        let records: Vec<Record> = entries.iter().enumerate().map(|(number, entry)| record(number, entry)).collect();
        let mut batch = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut batch, &records, &options).map_err(|error| Fault::Refused(-1, error.to_string()))?;
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch.freeze()));
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let data = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(milliseconds(PATIENCE)).with_topic_data(vec![data]);
        self.at_leader(topic, (ApiKey::Produce, 8), &request, |answer: ProduceResponse| {
            let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
            match partition.map(|partition| (partition.error_code, partition.base_offset)) {
                Some((0, offset)) => Ok(offset),
                // The leader has it and the replicas may not.
                Some((code @ (7 | 20), _)) => Err(Fault::Lost(Fault::Refused(code, String::new()).to_string())),
                Some((code, _)) => Err(Fault::Refused(code, String::new())),
                None => Err(Fault::Lost("it does not say what became of a record".to_owned())),
            }
        })
        .await
    }

    /// What a log has from an offset on, now: whole batches, the first of any size and the others within so many bytes.
    pub(super) async fn read(&self, topic: &str, offset: i64, bytes: i32) -> Result<Read, Fault> {
        let request = fetch(&[(topic.to_owned(), offset)], Duration::ZERO, bytes);
        self.at_leader(topic, (ApiKey::Fetch, 11), &request, |answer: FetchResponse| {
            let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
            let partition = partition.ok_or_else(|| Fault::Refused(answer.error_code, String::new()))?;
            if partition.error_code != 0 {
                return Err(Fault::Refused(partition.error_code, String::new()));
            }
            let entries = decode(partition.records.clone().unwrap_or_default(), offset)
                .map_err(|error| Fault::Refused(-1, format!("records cannot be read: {error}")))?;
            Ok(Read { entries, end: partition.high_watermark, start: partition.log_start_offset })
        })
        .await
    }

    /// Where a log begins.
    pub(super) async fn start(&self, topic: &str) -> Result<i64, Fault> {
        const EARLIEST: i64 = -2;
        let partition = ListOffsetsPartition::default().with_partition_index(0).with_current_leader_epoch(-1).with_timestamp(EARLIEST);
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let topics = vec![ListOffsetsTopic::default().with_name(name).with_partitions(vec![partition])];
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
        self.at_leader(topic, (ApiKey::ListOffsets, 5), &request, |answer: ListOffsetsResponse| {
            let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
            match partition.map(|partition| (partition.error_code, partition.offset)) {
                Some((0, offset)) => Ok(offset),
                Some((code, _)) => Err(Fault::Refused(code, String::new())),
                None => Err(Fault::Lost("it does not say where a log begins".to_owned())),
            }
        })
        .await
    }

    /// Removes what a log has before an offset.
    pub(super) async fn forget(&self, topic: &str, offset: i64) -> Result<(), Fault> {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let topics = vec![DeleteRecordsTopic::default().with_name(name).with_partitions(vec![partition])];
        let request = DeleteRecordsRequest::default().with_topics(topics).with_timeout_ms(milliseconds(PATIENCE));
        self.at_leader(topic, (ApiKey::DeleteRecords, 1), &request, |answer: DeleteRecordsResponse| {
            let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
            match partition.map(|partition| partition.error_code) {
                Some(0) => Ok(()),
                Some(code) => Err(Fault::Refused(code, String::new())),
                None => Err(Fault::Lost("it does not say whether records were removed".to_owned())),
            }
        })
        .await
    }

    /// Tells when a log has something at an offset, by and by also when it has not.
    pub(super) async fn listen(self: &Arc<Self>, topic: &str, offset: i64) -> Result<Arc<Notify>, Fault> {
        let leader = self.leader(topic).await?;
        let news = {
            let mut wanted = self.wanted.lock();
            let (from, news) = wanted.entry(topic.to_owned()).or_insert_with(|| (offset, Arc::default()));
            *from = (*from).min(offset);
            news.clone()
        };
        if self.listening.lock().insert(leader.clone()) {
            tokio::spawn(self.clone().hear(leader));
        }
        Ok(news)
    }

    /// Waits at a broker for news of what is wanted of it, as long as there is such.
    async fn hear(self: Arc<Self>, address: String) {
        loop {
            let wanted: Vec<(String, i64)> = {
                // Under this lock, so that whoever wants something from now on begins anew.
                let mut listening = self.listening.lock();
                let (wanted, leaders) = (self.wanted.lock(), self.leaders.lock());
                let is_here = |topic: &String| leaders.get(topic).is_none_or(|leader| *leader == address);
                let here = wanted.iter().filter(|(topic, _)| is_here(topic));
                let here: Vec<_> = here.map(|(topic, (offset, _))| (topic.clone(), *offset)).collect();
                if here.is_empty() {
                    listening.remove(&address);
                    return;
                }
                here
            };
            let request = fetch(&wanted, LISTEN, 1);
            let answer: Result<FetchResponse, Fault> = match self.connection(&address, true).await {
                Ok(connection) => connection.call(ApiKey::Fetch, 11, &request, PATIENCE).await,
                Err(fault) => Err(fault),
            };
            let Ok(answer) = answer else {
                // Whoever waits looks for himself, and is told what is the matter.
                self.give_up(&address, true);
                wanted.iter().for_each(|(topic, _)| self.tell(topic));
                tokio::time::sleep(LISTEN).await;
                continue;
            };
            for topic in &answer.responses {
                let partition = topic.partitions.first();
                if partition.is_none_or(|found| found.error_code != 0 || found.records.as_ref().is_some_and(|found| !found.is_empty())) {
                    self.tell(topic.topic.as_str());
                }
            }
        }
    }

    /// Wakes those who wait for news of a log.
    pub(super) fn tell(&self, topic: &str) {
        if let Some((_, news)) = self.wanted.lock().remove(topic) {
            news.notify_waiters();
        }
    }

    /// Nobody waits for news of a log any more.
    pub(super) fn deaf(&self, topic: &str, news: &Arc<Notify>) {
        let mut wanted = self.wanted.lock();
        // One is in the table and one is the asker's.
        if wanted.get(topic).is_some_and(|(_, own)| Arc::ptr_eq(own, news)) && Arc::strong_count(news) <= 2 {
            wanted.remove(topic);
        }
    }
}

fn fetch(wanted: &[(String, i64)], wait: Duration, bytes: i32) -> FetchRequest {
    let topic = |(name, offset): &(String, i64)| {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(*offset)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(bytes);
        FetchTopic::default().with_topic(TopicName(StrBytes::from_string(name.clone()))).with_partitions(vec![partition])
    };
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(milliseconds(wait))
        .with_min_bytes(1)
        .with_max_bytes(READ_BYTES)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(wanted.iter().map(topic).collect())
}

fn record(number: usize, entry: &Entry) -> Record {
    let number = i32::try_from(number).unwrap_or(i32::MAX);
    let mut headers = kafka_protocol::indexmap::IndexMap::new();
    if let Some(command) = &entry.command {
        headers.insert(StrBytes::from_static_str(HEADER), Some(command.clone()));
    }
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: i64::from(number),
        sequence: number,
        timestamp: i64::try_from(entry.at_ms).unwrap_or(i64::MAX),
        key: None,
        value: entry.body.clone(),
        headers,
    }
}

/// The entries of whole batches from an offset on; the last batch of an answer may be cut off.
fn decode(mut bytes: Bytes, from: i64) -> Result<Vec<Entry>, String> {
    const BEFORE: usize = 12;
    let mut entries = Vec::new();
    loop {
        let length = bytes.get(8..BEFORE).and_then(|length| length.first_chunk::<4>()).copied().map(i32::from_be_bytes);
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else { return Ok(entries) };
        let length = length.saturating_add(BEFORE);
        if bytes.remaining() < length {
            return Ok(entries);
        }
        let mut batch = bytes.split_to(length);
        super::batch::check(&batch)?;
        let set = RecordBatchDecoder::decode(&mut batch).map_err(|error| error.to_string())?;
        for record in set.records.into_iter().filter(|record| !record.control && record.offset >= from) {
            let command = record.headers.get(&StrBytes::from_static_str(HEADER)).cloned().flatten();
            let at_ms = u64::try_from(record.timestamp).unwrap_or(0);
            entries.push(Entry { offset: record.offset, at_ms, command, body: record.value });
        }
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(count: usize) -> BytesMut {
        let entry = |_| Entry { at_ms: 5, command: Some(Bytes::from("{}")), body: Some(Bytes::from("body")), offset: 0 };
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        let records: Vec<Record> = entries.iter().enumerate().map(|(number, entry)| record(number, entry)).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        bytes
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_and_one_batch_holds_all_of_a_request() {
        let mut bytes = batch(3);
        let whole = bytes.len();
        bytes.extend_from_slice(&batch(2));
        bytes.truncate(whole + 20);
        let entries = decode(bytes.freeze(), 1).unwrap();
        let found: Vec<_> = entries.iter().map(|entry| (entry.offset, entry.at_ms, entry.command.clone(), entry.body.clone())).collect();
        let wanted = |offset| (offset, 5, Some(Bytes::from("{}")), Some(Bytes::from("body")));
        assert_eq!(found, [wanted(1), wanted(2)]);
        assert!(decode(Bytes::from_static(b"abc"), 0).unwrap().is_empty());
    }

    /// The first batch with the checksum that it should have.
    fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(length) = bytes.get(8..12).and_then(|length| usize::try_from(i32::from_be_bytes(length.try_into().unwrap())).ok()) else {
            return bytes;
        };
        let end = length.saturating_add(12).min(bytes.len());
        let Some(sum) = bytes.get(21..end).map(|content| {
            let round = |sum: u32, _| if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 };
            !content.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), round))
        }) else {
            return bytes;
        };
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[test]
    fn a_batch_that_says_that_it_has_more_than_fits_in_it_is_refused() {
        let good = batch(1).to_vec();
        assert_eq!(sealed(good.clone()), good);
        let mut records = good;
        records[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        let refusal = |bytes: Vec<u8>| decode(Bytes::from(sealed(bytes)), 0).map(drop).unwrap_err();
        assert!(refusal(records).contains("expected 2147483647 records"));

        let mut headers = BytesMut::new();
        let entry = Entry { at_ms: 5, command: None, body: None, offset: 0 };
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut headers, &[record(0, &entry)], &options).unwrap();
        let mut headers = headers.to_vec();
        assert_eq!(headers.pop(), Some(0), "the number of headers comes last");
        headers.extend([0xfe, 0xff, 0xff, 0xff, 0x0f]);
        headers[11] += 4;
        headers[61] += 8;
        assert!(refusal(headers).contains("found that number 0 is none"));
    }

    #[test]
    fn fuzz_batches_of_records() {
        let [one, three] = [1, 3].map(|count| batch(count).to_vec());
        let both = [three.as_slice(), &one].concat();
        plexspaces_testkit::fuzz!([one, three, both], |bytes: &Vec<u8>| {
            for bytes in [bytes.clone(), sealed(bytes.clone())] {
                if let Ok(entries) = decode(Bytes::from(bytes), 1) {
                    assert!(entries.iter().all(|entry| entry.offset >= 1), "what is before the place is left out");
                }
            }
        });
    }
}
