use super::*;

fn entry(number: u32) -> (Vec<u8>, Vec<u8>) {
    (number.to_be_bytes().to_vec(), vec![number as u8; 100])
}

fn write(
    space: &mut ScratchSpace,
    bucket: u64,
    mut numbers: impl Iterator<Item = u32>,
) -> Result<(), SpillError> {
    space.write(bucket, &mut |key, value| {
        let Some(number) = numbers.next() else {
            return false;
        };
        let (k, v) = entry(number);
        key.extend(k);
        value.extend(v);
        true
    })
}

fn read(space: &ScratchSpace, bucket: u64, from: u32) -> Vec<u32> {
    let mut entries = space.read(bucket, &from.to_be_bytes()).expect("a cursor");
    let mut numbers = vec![];
    while let Some((key, value)) = entries.next().expect("an entry") {
        let number = u32::from_be_bytes(key.try_into().expect("four bytes"));
        assert_eq!((key, value), (&entry(number).0[..], &entry(number).1[..]));
        numbers.push(number);
    }
    numbers
}

fn open(parent: &Path, bytes_max: u64) -> Arc<Scratch> {
    Scratch::open(parent, bytes_max, Gauge::noop()).expect("a directory")
}

#[test]
fn entries_of_several_runs_are_read_in_order_and_given_back_with_their_bucket() {
    let parent = tempfile::tempdir().unwrap();
    let scratch = open(parent.path(), 1 << 30);
    let mut space = scratch.space();
    write(&mut space, 7, (0..5000).filter(|n| n % 2 == 0)).expect("written");
    write(&mut space, 7, (0..5000).filter(|n| n % 2 == 1)).expect("written");
    write(&mut space, 8, 0..3).expect("written");
    assert_eq!(read(&space, 7, 4000), (4000..5000).collect::<Vec<_>>());
    assert_eq!(read(&space, 8, 0), [0, 1, 2]);
    assert!(read(&space, 9, 0).is_empty());
    let held = scratch.held_bytes();
    space.remove(7).expect("removed");
    assert!(scratch.held_bytes() < held / 10);
    assert!(read(&space, 7, 0).is_empty());
    drop(space);
    assert_eq!(scratch.held_bytes(), 0);
    drop(scratch);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn what_is_more_than_it_may_hold_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let scratch = open(parent.path(), 1 << 20);
    let mut space = scratch.space();
    assert!(!space.is_half_full());
    let refused = write(&mut space, 0, 0..1_000_000).expect_err("100 MB of 1 MiB");
    assert!(matches!(refused, SpillError::Full { bytes_max, .. } if bytes_max == 1 << 20));
    let on_disk: u64 = walk(parent.path());
    assert!(
        on_disk < 2 << 20,
        "{on_disk} bytes were written all the same"
    );
}

fn walk(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let bytes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => walk(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    bytes.sum()
}

#[test]
fn what_a_process_left_that_is_gone_is_removed_and_what_another_holds_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let other = open(parent.path(), 1 << 30);
    let abandoned = parent.path().join("0123456789abcdef");
    std::fs::create_dir(&abandoned).unwrap();
    std::fs::write(abandoned.join("table"), "left").unwrap();
    std::fs::write(lock_path(&abandoned), "").unwrap();
    let own = open(parent.path(), 1 << 30);
    assert!(!abandoned.exists() && !lock_path(&abandoned).exists());
    assert!(other.directory.exists() && own.directory.exists());
    assert_ne!(other.directory, own.directory);
}

#[test]
fn a_directory_that_is_gone_is_an_error_that_says_what_happened() {
    let parent = tempfile::tempdir().unwrap();
    let scratch = open(parent.path(), 1 << 30);
    let mut space = scratch.space();
    write(&mut space, 0, 0..3).expect("written");
    std::fs::remove_dir_all(&scratch.directory).unwrap();
    let error = write(&mut space, 0, 3..6).expect_err("there is no directory");
    assert!(error.to_string().contains("No such file"), "{error}");
}
