//! The flags of the commands for what actors share.

use clap::{Args, Subcommand};
use plexspaces_app::Duration;

/// A duration in milliseconds.
fn milliseconds(text: &str) -> Result<u64, String> {
    Duration::parse(text).map(|duration| u64::try_from(duration.0.as_millis()).unwrap_or(u64::MAX))
}

/// A label with its value.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is no label, expected NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What lets a command be repeated.
#[derive(Args, Debug)]
pub(crate) struct Once {
    /// Do it once however often it is asked: 16 to 128 printable characters
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ts {
    /// Write a tuple
    Write {
        /// A JSON array
        tuple: String,
        /// How long it lives [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        ttl: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Show the oldest tuple that matches; fails when there is none
    Read {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// Wait for one
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        wait: Option<u64>,
    },
    /// Take the oldest tuple that matches; fails when there is none
    Take {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// Wait for one
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        wait: Option<u64>,
        /// Take it with a lease: it comes back unless it is confirmed in this time
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        lease: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Write a tuple unless one matches; fails when one does
    WriteOnce {
        /// What must not be there: a JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// A JSON array
        tuple: String,
        /// How long it lives [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        ttl: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Take the oldest tuple that matches, show it and write another in its place; fails when there is none
    Replace {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// The tuple to write, a JSON array
        tuple: String,
        /// How long that lives [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        ttl: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Take all tuples that match, oldest first, and show them
    TakeAll {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// How many at most, 1 to 1000
        #[arg(short = 'n', long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(1..=1000))]
        count: i32,
        #[command(flatten)]
        once: Once,
    },
    /// End a lease: the tuple is gone for good
    Confirm {
        /// The lease
        lease: String,
    },
    /// End a lease: the tuple is there again
    Release {
        /// The lease
        lease: String,
    },
    /// Show all tuples that match, oldest first
    ReadAll {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// How many at most
        #[arg(short = 'n', long, value_name = "N", default_value_t = 1000)]
        count: usize,
    },
    /// Count the tuples that match
    Count {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
    },
    /// Show the tuples that match and go on with those that are written
    Watch {
        /// A JSON array; null is any element, {"$gt": 5} a condition
        pattern: String,
        /// Only those written after the one with this position
        #[arg(long, value_name = "POSITION")]
        after: Option<u64>,
        /// End after so many
        #[arg(short = 'n', long, value_name = "N")]
        count: Option<usize>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// List the channels of the namespace
    List {
        /// Only those whose names begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Send a message to the queue
    Send {
        /// The channel
        channel: String,
        /// What it says, as JSON
        payload: String,
        /// What it is about
        #[arg(long = "type", value_name = "TYPE", default_value = "")]
        msg_type: String,
        /// Its id; while one of this id waits, it is not sent again
        #[arg(long, default_value = "")]
        msg_id: String,
        /// After which time it can be received
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        delay: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Receive the queue's next message; fails when there is none
    Receive {
        /// The channel
        channel: String,
        /// Wait for one
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        wait: Option<u64>,
        /// For how long it is hidden from others [default: 30s]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        visibility: Option<u64>,
        #[command(flatten)]
        of: Consumers,
        #[command(flatten)]
        once: Once,
    },
    /// Acknowledge a message: it is done
    Ack {
        /// The channel
        channel: String,
        /// The message
        msg_id: String,
        /// The receipt with which it came: fails when it is not this delivery's any more
        #[arg(long)]
        receipt: Option<String>,
        #[command(flatten)]
        of: Consumers,
    },
    /// Give a message back
    Nack {
        /// The channel
        channel: String,
        /// The message
        msg_id: String,
        /// The receipt with which it came: fails when it is not this delivery's any more
        #[arg(long)]
        receipt: Option<String>,
        /// Make it a dead letter instead of giving it out again
        #[arg(long)]
        dead: bool,
        #[command(flatten)]
        of: Consumers,
    },
    /// Publish a message to the topic
    Publish {
        /// The channel
        channel: String,
        /// What it says, as JSON
        payload: String,
        /// What it is about
        #[arg(long = "type", value_name = "TYPE", default_value = "")]
        msg_type: String,
        #[command(flatten)]
        once: Once,
    },
    /// Show the topic's messages as they are published
    Subscribe {
        /// The channel
        channel: String,
        /// Begin after the message with this position; 0 is before all that are kept
        #[arg(long, value_name = "POSITION")]
        after: Option<u64>,
        /// End after so many
        #[arg(short = 'n', long, value_name = "N")]
        count: Option<usize>,
    },
    /// Named places in the topic, which last
    #[command(subcommand)]
    Subscriber(Subscriber),
    /// Show how the channel stands
    Status {
        /// The channel
        channel: String,
        #[command(flatten)]
        of: Consumers,
    },
    /// List the queue's dead letters, oldest first
    DeadLetters {
        /// The channel
        channel: String,
        /// How many at most
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        count: usize,
        #[command(flatten)]
        of: Consumers,
    },
    /// Put dead letters into the queue again
    Redrive {
        /// The channel
        channel: String,
        #[command(flatten)]
        of: Consumers,
        /// Which [default: all]
        msg_ids: Vec<String>,
    },
}

/// Whose messages are meant.
#[derive(Debug, Args)]
pub(crate) struct Consumers {
    /// Those of a group of consumers of the topic, in place of the queue's
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) group: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Subscriber {
    /// Make a place in the topic; one that is there stays as it is
    Create {
        /// The channel
        channel: String,
        /// The subscriber's name
        subscriber: String,
        /// Begin with the oldest message that is kept, or with the next one
        #[arg(long, value_name = "PLACE", default_value = "earliest", value_parser = ["earliest", "latest"])]
        from: String,
    },
    /// Show the subscriber's next message and go past it; fails when there is none
    Next {
        /// The channel
        channel: String,
        /// The subscriber's name
        subscriber: String,
        /// Wait for one
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        wait: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Forget the subscriber
    Delete {
        /// The channel
        channel: String,
        /// The subscriber's name
        subscriber: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Group {
    /// List a group's members in the order in which they joined
    Members {
        /// The group
        group: String,
        /// Only those that hear of this topic
        #[arg(long, default_value = "")]
        topic: String,
    },
    /// List the groups
    List {
        /// Only those whose names begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Make an actor a member
    Join {
        /// The group
        group: String,
        /// NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
        /// A topic that it hears of [default: all]
        #[arg(long = "topic", value_name = "TOPIC")]
        topics: Vec<String>,
    },
    /// End a membership
    Leave {
        /// The group
        group: String,
        /// NAMESPACE/TYPE/KEY
        #[arg(value_name = "ACTOR")]
        actor: String,
    },
    /// Send each member a message
    Publish {
        /// The group
        group: String,
        /// What they are asked to do
        operation: String,
        /// The arguments, as JSON
        #[arg(default_value = "{}")]
        payload: String,
        /// Only to those that hear of this topic
        #[arg(long, default_value = "")]
        topic: String,
        #[command(flatten)]
        once: Once,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Lock {
    /// Acquire a lock and print its version, the fencing token; fails when it is another's
    Acquire {
        /// The lock's key
        key: String,
        /// How long it is held unless it is renewed
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = milliseconds)]
        ttl: u64,
        /// Who holds it; who acquires what they hold renews it
        #[arg(long, default_value = "")]
        holder: String,
        /// Wait for it
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        wait: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Renew a lease; fails when the lock is another's or free
    Renew {
        /// The lock's key
        key: String,
        /// The version with which it was acquired
        #[arg(value_name = "VERSION")]
        fence: String,
        /// How long it is held from now on
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = milliseconds)]
        ttl: u64,
    },
    /// Release a lock; fails when it is another's or free
    Release {
        /// The lock's key
        key: String,
        /// The version with which it was acquired
        #[arg(value_name = "VERSION")]
        fence: String,
    },
    /// Show a lock that is held
    Get {
        /// The lock's key
        key: String,
    },
    /// List the locks that are held
    List {
        /// Only those whose keys begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Hold a lock while a command runs, which finds its version in PLEXSPACES_LOCK_VERSION
    Run {
        /// The lock's key
        key: String,
        /// How long it is held after this program has died
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = milliseconds)]
        ttl: u64,
        /// Wait for it
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        wait: Option<u64>,
        /// The command, after --
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Show a pair's value; fails when there is none
    Get {
        /// Its key
        key: String,
    },
    /// Set a pair
    Put {
        /// Its key
        key: String,
        /// Its value
        value: String,
        /// How long it lives [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        ttl: Option<u64>,
        #[command(flatten)]
        once: Once,
    },
    /// Remove a pair
    Delete {
        /// Its key
        key: String,
    },
    /// Set a pair that has an expected value; fails when it has another
    Cas {
        /// Its key
        key: String,
        /// The new value
        value: String,
        /// The value that it should have [default: there should be no pair]
        #[arg(long, value_name = "VALUE")]
        expected: Option<String>,
        #[command(flatten)]
        once: Once,
    },
    /// List pairs
    List {
        /// Only those whose keys begin with this
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Show each pair that changes
    Watch {
        /// Only those whose keys begin with this
        #[arg(default_value = "")]
        prefix: String,
        /// Begin after the change with this version; 0 is before all
        #[arg(long, value_name = "VERSION")]
        after: Option<u64>,
        /// End after so many changes
        #[arg(short = 'n', long, value_name = "N")]
        count: Option<usize>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Register a name
    Register {
        /// The name
        name: String,
        /// What it stands for
        target: String,
        /// A label
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// What else is to be said of it, as JSON
        #[arg(long, value_name = "JSON")]
        metadata: Option<String>,
        /// How long the entry lives [default: for ever]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        ttl: Option<u64>,
    },
    /// Show what a name stands for
    Lookup {
        /// The name
        name: String,
    },
    /// List entries
    Find {
        /// Only those with this label
        #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
        labels: Vec<(String, String)>,
        /// Only those that are well
        #[arg(long)]
        healthy: bool,
    },
    /// Let an entry live on; fails when there is none
    Renew {
        /// The name
        name: String,
        /// How long it lives from now on [default: as before]
        #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
        ttl: Option<u64>,
        /// Say that its target is not well
        #[arg(long)]
        unhealthy: bool,
    },
    /// Remove a name
    Unregister {
        /// The name
        name: String,
    },
}
