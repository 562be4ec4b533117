//! Whether the numbers in a batch of records fit its bytes. The decoder makes room for as many records and headers as a batch says that it has,
//! and whoever writes to a topic could say two thousand million: the memory for them would be refused, and the node would end.

use bytes::Buf as _;

/// Where things are in a batch.
const ATTRIBUTES: usize = 21;
const BASE_TIMESTAMP: usize = 27;
const COUNT: usize = 57;
const RECORDS: usize = 61;

/// Refuses a batch whose records are not as many and as long as it says.
pub(super) fn check(batch: &[u8]) -> Result<(), String> {
    if batch.len() < RECORDS {
        return Err(format!("expected a batch of at least {RECORDS} bytes, found {}", batch.len()));
    }
    let at = |place: usize| batch.get(place..).unwrap_or_default();
    if at(ATTRIBUTES).get_i16() & 7 != 0 {
        return Err("expected records that are not compressed".to_owned());
    }
    let (offset, timestamp, count) = (at(0).get_i64(), at(BASE_TIMESTAMP).get_i64(), at(COUNT).get_i32());
    let mut rest = at(RECORDS);
    // Each takes a byte at least, so that there are not more rounds than bytes.
    for number in 0..count {
        record(&mut rest, offset, timestamp)
            .ok_or_else(|| format!("expected {count} records in a batch of {} bytes, found that number {number} is none", batch.len()))?;
    }
    Ok(())
}

/// Takes a record away; `None` when it is not a whole one.
fn record(batch: &mut &[u8], offset: i64, timestamp: i64) -> Option<()> {
    let length = varint(batch, 32)?;
    let mut rest = take(batch, length)?;
    take(&mut rest, 1)?;
    timestamp.checked_add(varint(&mut rest, 64)?)?;
    offset.checked_add(varint(&mut rest, 32)?)?;
    for _ in ["key", "value"] {
        let length = varint(&mut rest, 32)?;
        take(&mut rest, length.max(0))?;
    }
    // A header has the lengths of its name and its value, a byte each at least.
    let headers = usize::try_from(varint(&mut rest, 32)?).ok()?;
    (headers <= rest.len() / 2).then_some(())
}

fn take<'b>(bytes: &mut &'b [u8], length: i64) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(taken)
}

/// A number of at most so many bits, seven in a byte, its sign in the lowest.
fn varint(bytes: &mut &[u8], bits: u32) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..bits).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part >= 1_u64.checked_shl(bits - shift).unwrap_or(u64::MAX) {
            return None;
        }
        value |= part << shift;
        if *byte < 0x80 {
            let half = i64::try_from(value >> 1).ok()?;
            return Some(if value & 1 == 0 { half } else { !half });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_their_size() {
        let of = |bytes: &[u8], bits| varint(&mut &*bytes, bits);
        assert_eq!([of(&[0], 32), of(&[1], 32), of(&[2], 32), of(&[0x80, 1], 32)], [Some(0), Some(-1), Some(1), Some(64)]);
        assert_eq!(of(&[0xfe, 0xff, 0xff, 0xff, 0x0f], 32), Some(i64::from(i32::MAX)));
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0x1f], 32), None);
        assert_eq!(of(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 64), Some(i64::MIN));
        assert_eq!([of(&[], 32), of(&[0x80], 32), of(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], 32)], [None, None, None]);
    }
}
