use hob_image::Digest;

use super::{
    Desk,
    scripted::{Made, Scripted},
};

const SIZE: usize = 6 << 20;

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let made = Made::new(SIZE);
    let mut script = made.script();
    // The configuration comes whole, or either is cut: what counts is what was asked for.
    script.cuts = vec![3 << 20, 3 << 20];
    let registry = Scripted::start(script);
    let desk = Desk::new();
    let pulled = desk.pull(&registry).await.unwrap();
    let asked = registry.asked(Digest::of(&made.layer).hex());
    assert!(asked.len() > 1, "{asked:?}");
    let starts = asked.iter().flatten();
    assert!(
        starts.clone().any(|range| range != "bytes=0-"),
        "{asked:?}\n{}",
        desk.said()
    );
    // Nothing came twice but what was in memory and not on the disk.
    assert!(
        pulled.fetched < (SIZE + (4 << 20)) as u64,
        "{}",
        pulled.fetched
    );
    assert!(desk.partial().is_empty());
    desk.store.verify_blob(&Digest::of(&made.layer)).unwrap();
    assert!(
        desk.said().contains("going on where it stopped"),
        "{}",
        desk.said()
    );
}

#[tokio::test]
async fn a_registry_without_ranges_is_asked_from_the_beginning() {
    let made = Made::new(SIZE);
    let mut script = made.script();
    script.ranges = false;
    script.cuts = vec![3 << 20, 3 << 20];
    let registry = Scripted::start(script);
    let desk = Desk::new();
    desk.pull(&registry).await.unwrap();
    desk.store.verify_blob(&Digest::of(&made.layer)).unwrap();
}

#[tokio::test]
async fn what_is_here_is_not_fetched_again() {
    let made = Made::new(1 << 10);
    let registry = Scripted::start(made.script());
    let desk = Desk::new();
    let first = desk.pull(&registry).await.unwrap();
    assert_eq!(first.fetched, (made.layer.len() + made.config.len()) as u64);
    let second = desk.pull(&registry).await.unwrap();
    assert_eq!(second.fetched, 0);
    assert_eq!(registry.asked("/blobs/").len(), 2);
}
