//! One process at a time at something other than a stage.

use std::sync::Mutex;

use super::*;

#[test]
fn what_is_done_alone_is_done_by_one_at_a_time() {
    let root = tempfile::tempdir().unwrap();
    let (inside, most) = (Mutex::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let store = Store::open(root.path()).unwrap();
            let (inside, most) = (&inside, &most);
            scope.spawn(move || {
                let work = || -> Result<(), StoreError> {
                    *inside.lock().unwrap() += 1;
                    let now = *inside.lock().unwrap();
                    let mut most = most.lock().unwrap();
                    *most = now.max(*most);
                    std::thread::sleep(Duration::from_millis(5));
                    *inside.lock().unwrap() -= 1;
                    Ok(())
                };
                store.alone("report", work).unwrap();
            });
        }
    });
    assert_eq!(*most.lock().unwrap(), 1);
    assert_eq!(claim_files(root.path()), Vec::<PathBuf>::new());
}

#[test]
fn what_another_one_does_is_not_waited_for_if_that_is_asked() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let other = Store::open(root.path()).unwrap();
    let work = || -> Result<Option<u32>, StoreError> { other.alone_now("report", || Ok::<_, StoreError>(1)) };
    assert_eq!(store.alone("report", work).unwrap(), None);
    assert_eq!(other.alone_now("report", || Ok::<_, StoreError>(1)).unwrap(), Some(1));
    assert_eq!(store.alone("other", || other.alone_now("report", || Ok::<_, StoreError>(1))).unwrap(), Some(1));
}

#[test]
fn an_error_gives_the_name_back() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).unwrap();
    let failed: Result<(), StoreError> = store.alone("report", || store.open_done(key().id()).map(drop));
    assert!(failed.is_err());
    assert_eq!(claim_files(root.path()), Vec::<PathBuf>::new());
}
