//! What one caller sees: batches, preconditions, reads, order.

use super::{Fixture, bytes, entry, partition, put, scan_all};
use crate::{Batch, Error, Page, Range};

/// All writes of a batch are seen after it.
pub async fn a_batch_is_kept_whole(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("batch");
    put(&*store, &here, "gone", "1").await.unwrap();
    let mut batch = Batch::new(here.clone());
    batch.put("a", "1").put("b", "2").delete("gone").put("c", "");
    store.commit(batch).await.unwrap();
    assert_eq!(scan_all(&*store, &here, Range::all(), 10).await, [entry("a", "1"), entry("b", "2"), entry("c", "")]);
    assert_eq!(store.get(&here, b"b").await.unwrap(), Some(bytes("2")));
    assert_eq!(store.get(&here, b"gone").await.unwrap(), None);
}

/// A batch of nothing succeeds.
pub async fn an_empty_batch_is_no_error(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("empty");
    store.commit(Batch::new(here.clone())).await.unwrap();
    assert_eq!(store.scan(&here, Range::all(), 10).await.unwrap(), Page::default());
}

/// A batch may require what its own writes end.
pub async fn preconditions_are_judged_before_the_writes(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("before");
    let mut batch = Batch::new(here.clone());
    batch.put("k", "1").require("k", None);
    store.commit(batch).await.unwrap();

    let mut batch = Batch::new(here.clone());
    batch.delete("k").put("k", "2").require("k", Some(bytes("1")));
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(&here, b"k").await.unwrap(), Some(bytes("2")));

    let mut batch = Batch::new(here.clone());
    batch.put("k", "3").require("k", Some(bytes("3")));
    assert_eq!(store.commit(batch).await, Err(Error::Precondition { index: 0 }));
    assert_eq!(store.get(&here, b"k").await.unwrap(), Some(bytes("2")));
}

/// The first precondition that does not hold is told, and no write is kept.
pub async fn a_failing_precondition_is_named_and_nothing_is_kept(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("failing");
    put(&*store, &here, "k", "1").await.unwrap();
    put(&*store, &here, "void", "").await.unwrap();
    let unmet = [
        ("k", None),
        ("k", Some(bytes("2"))),
        ("k", Some(bytes("1\0"))),
        ("k", Some(bytes(""))),
        ("void", None),
        ("absent", Some(bytes(""))),
        ("absent", Some(bytes("1"))),
        ("", Some(bytes(""))),
    ];
    for (key, value) in unmet {
        let mut batch = Batch::new(here.clone());
        batch.put("a", "1").put("k", "9").delete("void").put("z", "1");
        batch.require("k", Some(bytes("1"))).require("absent", None).require(key, value.clone()).require("a", Some(bytes("no")));
        assert_eq!(store.commit(batch).await, Err(Error::Precondition { index: 2 }), "{key:?} {value:?}");
        assert_eq!(scan_all(&*store, &here, Range::all(), 10).await, [entry("k", "1"), entry("void", "")]);
    }
}

/// A batch without writes tells whether its preconditions hold.
pub async fn preconditions_alone_are_a_check(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("check");
    let mut check = Batch::new(here.clone());
    check.require("k", Some(bytes("1")));
    assert_eq!(store.commit(check.clone()).await, Err(Error::Precondition { index: 0 }));
    put(&*store, &here, "k", "1").await.unwrap();
    store.commit(check).await.unwrap();
}

/// Writes are applied in order.
pub async fn the_last_write_of_a_key_wins(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("last");
    let mut batch = Batch::new(here.clone());
    batch.put("a", "1").put("a", "2").put("b", "1").delete("b").delete("c").put("c", "3");
    store.commit(batch).await.unwrap();
    assert_eq!(scan_all(&*store, &here, Range::all(), 10).await, [entry("a", "2"), entry("c", "3")]);
}

/// A delete of nothing does nothing.
pub async fn deleting_what_is_absent_is_no_error(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("absent");
    let mut batch = Batch::new(here.clone());
    batch.delete("k").put("l", "1");
    store.commit(batch).await.unwrap();
    assert_eq!(scan_all(&*store, &here, Range::all(), 10).await, [entry("l", "1")]);
}

/// Neither zero bytes nor what is not text, nor nothing at all, is special.
pub async fn keys_and_values_are_any_bytes(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("bytes");
    let all: Vec<u8> = (0..=255).collect();
    let keys: [&[u8]; 7] = [&[], &[0], &[0, 0], &[255], &[255, 255], b"it's; --\"%_", &all];
    let mut batch = Batch::new(here.clone());
    for (index, key) in keys.into_iter().enumerate() {
        batch.put(key.to_vec(), [key, &[u8::try_from(index).unwrap()]].concat());
    }
    batch.put("empty", "");
    store.commit(batch).await.unwrap();
    for (index, key) in keys.into_iter().enumerate() {
        assert_eq!(store.get(&here, key).await.unwrap().unwrap(), [key, &[u8::try_from(index).unwrap()]].concat());
    }
    assert_eq!(store.get(&here, b"empty").await.unwrap(), Some(bytes("")));
    assert_eq!(store.get(&here, &[0, 0, 0]).await.unwrap(), None);
}

/// Keys are ordered as bytes, a prefix before what it begins.
pub async fn scans_are_in_byte_order(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("order");
    let mut keys: Vec<Vec<u8>> = vec![vec![]];
    for a in [0, 1, b'A', b'a', 0x7f, 0x80, 0xc3, 0xfe, 0xff] {
        keys.push(vec![a]);
        keys.extend([0, b'a', 0xff].map(|b| vec![a, b]));
    }
    keys.sort();
    // Written in another order than that of the keys.
    let mut shuffled: Vec<_> = keys.iter().enumerate().map(|(index, key)| ((index * 7) % keys.len(), key)).collect();
    shuffled.sort();
    for (_, key) in shuffled {
        put(&*store, &here, key.clone(), key.clone()).await.unwrap();
    }
    let found = |entries: Vec<(bytes::Bytes, bytes::Bytes)>| entries.into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>();
    assert_eq!(found(scan_all(&*store, &here, Range::all(), 1_000).await), keys);
    for prefix in [&[][..], &[0], b"a", &[0xff], &[0xff, 0xff], b"nothing"] {
        let expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        assert_eq!(found(scan_all(&*store, &here, Range::prefix(prefix), 1_000).await), expected, "prefix {prefix:?}");
    }
    for (start, end) in [(3, 9), (0, keys.len() - 1), (5, 6)] {
        let range = Range { start: keys[start].clone().into(), end: Some(keys[end].clone().into()) };
        assert_eq!(found(scan_all(&*store, &here, range, 1_000).await), keys[start..end]);
    }
}

/// Pages of any size give the same, and `more` is true exactly when there is more.
pub async fn pages_follow_one_another(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("pages");
    let mut batch = Batch::new(here.clone());
    for index in 0..24 {
        batch.put(format!("k{index:02}"), format!("{index}"));
    }
    batch.put("j", "before").put("l", "after");
    store.commit(batch).await.unwrap();
    let expected: Vec<_> = (0..24).map(|index| entry(&format!("k{index:02}"), &format!("{index}"))).collect();
    for limit in [1, 2, 7, 23, 24, 25] {
        assert_eq!(scan_all(&*store, &here, Range::prefix(b"k"), limit).await, expected, "limit {limit}");
    }
    for (limit, more) in [(0, true), (23, true), (24, false), (25, false)] {
        let page = store.scan(&here, Range::prefix(b"k"), limit).await.unwrap();
        assert_eq!((page.entries.len(), page.more), (limit.min(24), more), "limit {limit}");
    }
}

/// Nothing is found in an empty range or in one that is the wrong way round.
pub async fn a_range_that_holds_no_key_is_empty(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("ranges");
    for key in ["a", "b", "c"] {
        put(&*store, &here, key, "1").await.unwrap();
    }
    for (start, end) in [("b", "b"), ("c", "a"), ("d", "e"), ("aa", "b"), ("", "")] {
        let range = Range { start: bytes(start), end: Some(bytes(end)) };
        assert_eq!(store.scan(&here, range, 10).await.unwrap(), Page::default(), "{start:?}..{end:?}");
    }
    assert_eq!(store.scan(&here, Range::all().after(b"c"), 10).await.unwrap(), Page::default());
}

/// A partition sees nothing of another, also where the bytes of one begin those of the other.
pub async fn partitions_are_apart(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let names = ["p", "pp", "p-", "q", "o"];
    for name in names {
        let mut batch = Batch::new(partition(name));
        batch.put("k", name).put("", name).put([0xff, 0xff].to_vec(), name).put("p", name);
        store.commit(batch).await.unwrap();
    }
    for name in names {
        let here = partition(name);
        let found = scan_all(&*store, &here, Range::all(), 3).await;
        assert_eq!(found.len(), 4, "{name}: {found:?}");
        assert!(found.iter().all(|(_, value)| value == name), "{name}: {found:?}");
    }
    let mut batch = Batch::new(partition("p"));
    batch.delete("k").require("k", Some(bytes("p")));
    store.commit(batch).await.unwrap();
    assert_eq!(store.get(&partition("p"), b"k").await.unwrap(), None);
    assert_eq!(store.get(&partition("pp"), b"k").await.unwrap(), Some(bytes("pp")));
    assert_eq!(store.scan(&partition("none"), Range::all(), 10).await.unwrap(), Page::default());
}

/// Batches of other partitions that come first are kept with the batch that follows them.
pub async fn what_comes_first_is_kept_before_the_batch(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let [one, two, here] = ["first/1", "first/2", "first/3"].map(partition);
    let mut first = [Batch::new(one.clone()), Batch::new(two.clone())];
    for batch in &mut first {
        batch.put("k", "first");
    }
    let mut batch = Batch::new(here.clone());
    batch.require("l", None).put("l", "then");
    store.commit_after(first.to_vec(), batch).await.unwrap();
    assert_eq!(scan_all(&*store, &one, Range::all(), 10).await, [entry("k", "first")]);
    assert_eq!(scan_all(&*store, &two, Range::all(), 10).await, [entry("k", "first")]);
    assert_eq!(scan_all(&*store, &here, Range::all(), 10).await, [entry("l", "then")]);
}

/// A batch whose precondition fails leaves no write; what came first is either kept whole or not at all.
pub async fn a_batch_that_is_refused_may_follow_what_is_kept(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let [one, here] = ["refused/1", "refused/2"].map(partition);
    put(&*store, &here, "k", "1").await.unwrap();
    let mut first = Batch::new(one.clone());
    first.put("a", "1").put("b", "2");
    let mut batch = Batch::new(here.clone());
    batch.require("k", Some(bytes("2"))).put("k", "3").put("l", "3");
    assert_eq!(store.commit_after(vec![first], batch).await, Err(Error::Precondition { index: 0 }));
    assert_eq!(scan_all(&*store, &here, Range::all(), 10).await, [entry("k", "1")]);
    let kept = scan_all(&*store, &one, Range::all(), 10).await;
    assert!(kept.is_empty() || kept == [entry("a", "1"), entry("b", "2")], "{kept:?}");
}
