//! What runs on the server, and the names of its keys.
//!
//! Every script names all of its keys, and both keys of a partition have the partition in braces, by which clusters place keys.

use plexspaces_store::{Batch, Partition, Precondition, Write};
use redis::Cmd;

/// The value of the key by which a store is recognised.
pub(super) const VERSION: &str = "plexspaces store, version 1";

/// How long the key of a lane that nobody uses is kept, in seconds.
pub(super) const LANE_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Commits a group. The first key is the lane's, of which the arguments hold the number that must be there, the number of this group and
/// the seconds for which it is kept. Then follow for each batch the keys of its values and of their order, and as arguments a letter for
/// each item and the items: `a` requires that a key is absent, `e` that it equals a value, `p` puts and `d` deletes.
///
/// Whatever can fail, fails before the first write: the types of the keys are looked at first, and a server that is full or takes no writes
/// refuses the first of them. The answer is what the lane's key then holds: the number of the group, a bar, and for each batch with a
/// precondition that did not hold the place of the batch, a colon and that of the precondition. It is nothing when another number was there.
const COMMIT: &str = r"
local there = redis.call('GET', KEYS[1])
if not there or string.match(there, '^%d+') ~= ARGV[1] then return false end
for k = 2, #KEYS, 2 do
    redis.call('HLEN', KEYS[k])
    redis.call('ZCARD', KEYS[k + 1])
end
local unmet, at = {}, 4
for k = 2, #KEYS, 2 do
    local values, order, letters = KEYS[k], KEYS[k + 1], ARGV[at]
    local holds = true
    at = at + 1
    for i = 1, #letters do
        local letter, key = string.byte(letters, i), ARGV[at]
        at = at + 1
        if letter == 97 then
            if holds and redis.call('HEXISTS', values, key) == 1 then
                holds = false
                unmet[#unmet + 1] = (k / 2 - 1) .. ':' .. (i - 1)
            end
        elseif letter == 101 then
            if holds and redis.call('HGET', values, key) ~= ARGV[at] then
                holds = false
                unmet[#unmet + 1] = (k / 2 - 1) .. ':' .. (i - 1)
            end
            at = at + 1
        elseif letter == 112 then
            if holds and redis.call('HSET', values, key, ARGV[at]) == 1 then
                redis.call('ZADD', order, 0, key)
            end
            at = at + 1
        elseif holds and redis.call('HDEL', values, key) == 1 then
            redis.call('ZREM', order, key)
        end
    end
end
local here = ARGV[2] .. '|' .. table.concat(unmet, ',')
redis.call('SET', KEYS[1], here, 'EX', ARGV[3])
return here
";

/// Asks what became of the group with the number of the first argument. If it was written the answer is what it left, else the number of
/// the second argument is put into the lane's key, so that the group never will be, and the answer is what was there. One that comes late is
/// known by its number, and does nothing.
///
/// It goes on where memory is full, since what is deleted needs a lane too.
const SETTLE: &str = r"#!lua flags=allow-oom
local there = redis.call('GET', KEYS[1])
local number = there and string.match(there, '^%d+')
if number and (number == ARGV[1] or tonumber(number) > tonumber(ARGV[2])) then return there end
redis.call('SET', KEYS[1], ARGV[2] .. '|', 'EX', ARGV[3])
return there
";

/// A page of a range: whether there is more after it, and its keys and values in turn.
const SCAN: &str = r"
local limit, left = tonumber(ARGV[3]), tonumber(ARGV[4])
local keys, page = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, limit + 1), {}
for i = 1, #keys do
    local size = #keys[i] + redis.call('HSTRLEN', KEYS[1], keys[i])
    if i > limit or (i > 1 and size > left) then return {1, page} end
    left = left - size
    page[2 * i - 1], page[2 * i] = keys[i], redis.call('HGET', KEYS[1], keys[i])
end
return {0, page}
";

/// The scripts, in the order of their texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Commit,
    Settle,
    Scan,
}

/// Their texts.
pub(super) const TEXTS: [&str; 3] = [COMMIT, SETTLE, SCAN];

/// The names of a store's keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// By which the store is recognised.
    pub(super) fn marker(&self) -> String {
        format!("{}:store", self.prefix)
    }

    /// Those of all keys that are the store's.
    pub(super) fn pattern(&self) -> String {
        format!("{}:*", self.prefix)
    }

    pub(super) fn lane(&self, owner: &str, name: impl std::fmt::Display) -> String {
        format!("{}:lane:{owner}:{name}", self.prefix)
    }

    pub(super) fn is_lane(&self, key: &[u8]) -> bool {
        key.strip_prefix(self.prefix.as_bytes()).is_some_and(|rest| rest.starts_with(b":lane:"))
    }

    /// The hash of a partition's values.
    pub(super) fn values(&self, partition: &Partition) -> Vec<u8> {
        [self.prefix.as_bytes(), b":{", partition.as_bytes(), b"}v"].concat()
    }

    /// The sorted set of a partition's keys.
    pub(super) fn order(&self, partition: &Partition) -> Vec<u8> {
        [self.prefix.as_bytes(), b":{", partition.as_bytes(), b"}o"].concat()
    }
}

/// The arguments of the script that commits, after its name.
pub(super) fn commit(command: &mut Cmd, keys: &Keys, lane: &str, last: u64, number: u64, batches: &[&Batch]) {
    command.arg(1 + 2 * batches.len()).arg(lane);
    for batch in batches {
        command.arg(keys.values(&batch.partition)).arg(keys.order(&batch.partition));
    }
    command.arg(last).arg(number).arg(LANE_SECONDS);
    for batch in batches {
        let required = batch.preconditions.iter().map(|precondition| match precondition {
            Precondition::Absent { .. } => b'a',
            Precondition::Equals { .. } => b'e',
        });
        let written = batch.writes.iter().map(|write| match write {
            Write::Put { .. } => b'p',
            Write::Delete { .. } => b'd',
        });
        command.arg(required.chain(written).collect::<Vec<u8>>());
        for precondition in &batch.preconditions {
            match precondition {
                Precondition::Absent { key } => command.arg(&key[..]),
                Precondition::Equals { key, value } => command.arg(&key[..]).arg(&value[..]),
            };
        }
        for write in &batch.writes {
            match write {
                Write::Put { key, value } => command.arg(&key[..]).arg(&value[..]),
                Write::Delete { key } => command.arg(&key[..]),
            };
        }
    }
}

/// What a lane's key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) number: u64,
    /// The places of batches whose preconditions did not hold, and of those.
    pub(super) unmet: Vec<(usize, usize)>,
}

impl Held {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (number, unmet) = std::str::from_utf8(text).ok()?.split_once('|')?;
        let place = |text: &str| {
            let (batch, precondition) = text.split_once(':')?;
            Some((batch.parse().ok()?, precondition.parse().ok()?))
        };
        let unmet = unmet.split(',').filter(|text| !text.is_empty()).map(place).collect::<Option<_>>()?;
        Some(Self { number: number.parse().ok()?, unmet })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lane_holds_is_read() {
        assert_eq!(Held::parse(b"7|"), Some(Held { number: 7, unmet: vec![] }));
        assert_eq!(Held::parse(b"12|0:3,14:0"), Some(Held { number: 12, unmet: vec![(0, 3), (14, 0)] }));
        for other in [&b""[..], b"7", b"|", b"7|3", b"7|a:b", b"\xff|"] {
            assert_eq!(Held::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn fuzz_what_a_lane_holds() {
        plexspaces_testkit::fuzz!(["7|", "12|0:3,14:0"], |bytes: &Vec<u8>| {
            let Some(Held { number, unmet }) = Held::parse(bytes) else { return };
            let text = unmet.iter().map(|(batch, precondition)| format!("{batch}:{precondition}")).collect::<Vec<_>>().join(",");
            assert_eq!(Held::parse(format!("{number}|{text}").as_bytes()), Some(Held { number, unmet }));
        });
    }
}
