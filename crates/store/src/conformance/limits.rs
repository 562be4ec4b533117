//! What a backend says that it can hold, it holds; what is more is refused before anything is written.

use bytes::Bytes;

use super::{Fixture, bytes, partition, put, scan_all};
use crate::{Batch, Error, Page, Range};

/// Bytes that do not compress to nothing and differ at each place.
fn filler(length: usize) -> Bytes {
    (0..length).map(|index| u8::try_from((index.wrapping_mul(2_654_435_761) >> 13) & 0xff).unwrap()).collect::<Vec<_>>().into()
}

/// A value of the limit's size comes back as it was.
pub async fn the_largest_value_is_kept(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("largest");
    let value = filler(store.limits().value_bytes);
    put(&*store, &here, "before", "1").await.unwrap();
    put(&*store, &here, "k", value.clone()).await.unwrap();
    put(&*store, &here, "l", "after").await.unwrap();
    assert!(store.get(&here, b"k").await.unwrap() == Some(value.clone()));
    let mut batch = Batch::new(here.clone());
    batch.put("k", "small").require("k", Some(value));
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(&here, b"k").await.unwrap(), Some(bytes("small")));
}

/// One byte more is a limit error that says so, and nothing of its batch is written.
pub async fn a_larger_value_is_refused(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("larger");
    let limit = store.limits().value_bytes;
    let mut batch = Batch::new(here.clone());
    batch.put("a", "1").put("k", vec![7; limit + 1]).put("z", "1");
    assert_eq!(store.commit(batch).await, Err(Error::Limit { what: "value bytes", limit, found: limit + 1 }));
    assert_eq!(store.scan(&here, Range::all(), 10).await.unwrap(), Page::default());
}

/// The same for keys.
pub async fn the_longest_key_is_kept_and_a_longer_one_refused(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("keys");
    let limit = store.limits().key_bytes;
    let longest = filler(limit);
    put(&*store, &here, longest.clone(), "1").await.unwrap();
    assert_eq!(store.get(&here, &longest).await.unwrap(), Some(bytes("1")));
    let longer = filler(limit + 1);
    assert_eq!(put(&*store, &here, longer.clone(), "1").await, Err(Error::Limit { what: "key bytes", limit, found: limit + 1 }));
    assert_eq!(store.get(&here, &longer).await.unwrap(), None);
}

/// The same for the number of items, of which preconditions are some.
pub async fn the_most_items_are_kept_and_more_refused(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("items");
    let limit = store.limits().batch_items;
    let mut batch = Batch::new(here.clone());
    for index in 1..limit {
        batch.put(format!("{index:08}"), "1");
    }
    batch.require("k", None);
    let mut more = batch.clone();
    more.delete("k");
    assert_eq!(store.commit(more).await, Err(Error::Limit { what: "batch items", limit, found: limit + 1 }));
    assert_eq!(store.scan(&here, Range::all(), 10).await.unwrap(), Page::default());
    store.commit(batch).await.unwrap();
    assert_eq!(scan_all(&*store, &here, Range::all(), 700).await.len(), limit - 1);
}

/// The same for a batch's bytes.
pub async fn a_larger_batch_is_refused(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("sum");
    let limits = *store.limits();
    let value = Bytes::from(vec![1; limits.value_bytes.min(limits.batch_bytes / 2)]);
    let mut batch = Batch::new(here.clone());
    while batch.bytes() <= limits.batch_bytes {
        batch.put(format!("{}", batch.writes.len()), value.clone());
    }
    let found = batch.bytes();
    assert_eq!(store.commit(batch).await, Err(Error::Limit { what: "batch bytes", limit: limits.batch_bytes, found }));
    assert_eq!(store.scan(&here, Range::all(), 10).await.unwrap(), Page::default());
}

/// A page has at most the backend's entries and bytes, however much is asked for, but at least one entry.
pub async fn pages_end_at_their_limits(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let limits = *store.limits();
    let many = partition("many");
    for half in 0..2 {
        let mut batch = Batch::new(many.clone());
        for index in 0..limits.page_entries / 2 + 1 {
            batch.put(format!("{half}{index:08}"), "1");
        }
        store.commit(batch).await.unwrap();
    }
    let page = store.scan(&many, Range::all(), usize::MAX).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (limits.page_entries, true));

    let large = partition("large");
    let sizes = [limits.page_bytes / 3, limits.page_bytes / 3, limits.page_bytes / 3, limits.value_bytes, 1];
    for (index, size) in sizes.into_iter().enumerate() {
        put(&*store, &large, format!("{index}"), vec![1; size.min(limits.value_bytes)]).await.unwrap();
    }
    let (mut range, mut seen) = (Range::all(), 0);
    loop {
        let page = store.scan(&large, range.clone(), usize::MAX).await.unwrap();
        let bytes: usize = page.entries.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes <= limits.page_bytes || page.entries.len() == 1, "{bytes} bytes in {} entries", page.entries.len());
        seen += page.entries.len();
        if !page.more {
            break;
        }
        range = range.after(&page.entries.last().expect("a page with more holds an entry").0);
    }
    assert_eq!(seen, sizes.len());
}
