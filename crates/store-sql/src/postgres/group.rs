//! Many batches as the arguments of one call of the function that commits.

use plexspaces_store::{Batch, Partition, Precondition, Write};

/// The function's arguments, in columns. Batches are counted from one.
#[derive(Default)]
pub(super) struct Group<'b> {
    pub(super) locks: Vec<i32>,
    pub(super) batches: i32,
    pub(super) batch_of: Vec<i32>,
    pub(super) place_of: Vec<i32>,
    pub(super) partition_of: Vec<&'b [u8]>,
    pub(super) key_of: Vec<&'b [u8]>,
    pub(super) value_of: Vec<Option<&'b [u8]>>,
}

impl<'b> Group<'b> {
    pub(super) fn of(batches: impl Iterator<Item = &'b Batch>) -> Self {
        let mut group = Self::default();
        for batch in batches {
            group.batches += 1;
            let partition = batch.partition.as_bytes();
            group.locks.push(lock(&batch.partition));
            for (place, precondition) in (0..).zip(&batch.preconditions) {
                match precondition {
                    Precondition::Absent { key } => group.item(place, partition, key, None),
                    Precondition::Equals { key, value } => group.item(place, partition, key, Some(value)),
                }
            }
            for write in &batch.writes {
                match write {
                    Write::Put { key, value } => group.item(-1, partition, key, Some(value)),
                    Write::Delete { key } => group.item(-1, partition, key, None),
                }
            }
        }
        // In one order wherever they are taken, so that transactions that share some do not wait for one another.
        group.locks.sort_unstable();
        group.locks.dedup();
        group
    }

    fn item(&mut self, place: i32, partition: &'b [u8], key: &'b [u8], value: Option<&'b [u8]>) {
        self.batch_of.push(self.batches);
        self.place_of.push(place);
        self.partition_of.push(partition);
        self.key_of.push(key);
        self.value_of.push(value);
    }
}

/// The number of a partition's lock. Two partitions may share one; then they wait for one another.
pub(super) fn lock(partition: &Partition) -> i32 {
    crc32fast::hash(partition.as_bytes()).cast_signed()
}
