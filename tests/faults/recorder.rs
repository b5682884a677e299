//! SQLite's file system as it is, with a record of what is written, cut and synced: what a power cut may leave of a file can then be
//! made for any moment. Only for a process of its own: it becomes the default of the whole process.
#![allow(unsafe_code, reason = "SQLite's file systems are a table of C functions")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi::{
    SQLITE_OK, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs, sqlite3_vfs_find, sqlite3_vfs_register,
};

/// What happened to a file.
#[derive(Clone, Debug)]
pub enum Op {
    Write {
        file: String,
        at: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        file: String,
        size: u64,
    },
    Sync {
        file: String,
    },
    /// Also on the disk: SQLite syncs the folder.
    Delete {
        file: String,
    },
    /// Whoever wrote was told that so many records are there.
    Acknowledged(u64),
}

#[derive(Default)]
struct Record {
    folder: String,
    open: BTreeMap<usize, String>,
    ops: Vec<Op>,
}

static RECORD: Mutex<Option<Record>> = Mutex::new(None);
static REAL: AtomicPtr<sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// A table of file functions that records, and the one behind it. The first field is what SQLite sees.
#[repr(C)]
struct Hooked {
    methods: sqlite3_io_methods,
    real: *const sqlite3_io_methods,
}

/// Records from now on what happens to files in a folder.
pub fn install(folder: &Path) {
    let folder = folder.canonicalize().unwrap().display().to_string();
    *record() = Some(Record { folder, ..Record::default() });
    // SAFETY: a null name asks for the default, which SQLite keeps for the life of the process. The copy and its name are never
    // freed, and only `xOpen` differs: it has the type of the one that it stands for.
    unsafe {
        let real = sqlite3_vfs_find(ptr::null());
        assert!(!real.is_null());
        REAL.store(real, Ordering::SeqCst);
        let mut mine = *real;
        mine.zName = c"recorder".as_ptr();
        mine.pNext = ptr::null_mut();
        mine.xOpen = Some(open);
        mine.xDelete = Some(delete);
        assert_eq!(sqlite3_vfs_register(Box::leak(Box::new(mine)), 1), SQLITE_OK);
    }
}

/// Everything recorded so far, in order.
pub fn taken() -> Vec<Op> {
    record().as_ref().map(|record| record.ops.clone()).unwrap_or_default()
}

/// Whoever appended was answered.
pub fn acknowledged(records: u64) {
    note(Op::Acknowledged(records));
}

fn record() -> std::sync::MutexGuard<'static, Option<Record>> {
    RECORD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(op: Op) {
    if let Some(record) = record().as_mut() {
        record.ops.push(op);
    }
}

/// The name of an open file in the folder.
fn name(file: *mut sqlite3_file) -> Option<String> {
    record().as_ref()?.open.get(&(file as usize)).cloned()
}

// SAFETY of all functions below: SQLite calls them with what it gave to, or got from, the real functions of the same type;
// everything is passed on to those as it came.

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    path: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: see above; a path is null or ends in a zero, and a file that was opened has its table of functions set, which lives
    // as long as the process. The new table begins with a whole table, and is never freed.
    unsafe {
        let real = REAL.load(Ordering::SeqCst);
        let Some(real_open) = (*real).xOpen else { return 1 };
        let result = real_open(real, path, file, flags, out);
        if result != SQLITE_OK || path.is_null() || (*file).pMethods.is_null() {
            return result;
        }
        let path = CStr::from_ptr(path).to_string_lossy().into_owned();
        let name = record()
            .as_ref()
            .and_then(|record| path.strip_prefix(&record.folder).map(|name| name.trim_start_matches('/').to_owned()));
        if let (Some(name), Some(record)) = (name, record().as_mut()) {
            record.open.insert(file as usize, name);
            let real = (*file).pMethods;
            let mut methods = *real;
            methods.xWrite = Some(write);
            methods.xTruncate = Some(truncate);
            methods.xSync = Some(sync);
            methods.xClose = Some(close);
            (*file).pMethods = &raw const Box::leak(Box::new(Hooked { methods, real })).methods;
        }
        result
    }
}

unsafe extern "C" fn delete(_vfs: *mut sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    // SAFETY: see above; the path ends in a zero.
    unsafe {
        let real = REAL.load(Ordering::SeqCst);
        let path_text = CStr::from_ptr(path).to_string_lossy().into_owned();
        let result = (*real).xDelete.map_or(1, |delete| delete(real, path, sync));
        let file = record().as_ref().and_then(|record| {
            path_text.strip_prefix(&record.folder).map(|name| name.trim_start_matches('/').to_owned())
        });
        if let (SQLITE_OK, Some(file)) = (result, file) {
            note(Op::Delete { file });
        }
        result
    }
}

/// The table behind the one that a file has.
unsafe fn real(file: *mut sqlite3_file) -> *const sqlite3_io_methods {
    // SAFETY: only files whose table `open` has set come here, and that is the first field of a `Hooked`.
    unsafe { (*(*file).pMethods.cast::<Hooked>()).real }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, length: c_int, at: sqlite3_int64) -> c_int {
    // SAFETY: see above; `from` holds `length` bytes.
    unsafe {
        let bytes = std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(length).unwrap_or(0)).to_vec();
        if let (Some(file), Ok(at)) = (name(file), u64::try_from(at)) {
            note(Op::Write { file, at, bytes });
        }
        (*real(file)).xWrite.map_or(1, |write| write(file, from, length, at))
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    if let (Some(file), Ok(size)) = (name(file), u64::try_from(size)) {
        note(Op::Truncate { file, size });
    }
    // SAFETY: see above.
    unsafe { (*real(file)).xTruncate.map_or(1, |truncate| truncate(file, size)) }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: see above.
    let result = unsafe { (*real(file)).xSync.map_or(1, |sync| sync(file, flags)) };
    if let (SQLITE_OK, Some(file)) = (result, name(file)) {
        note(Op::Sync { file });
    }
    result
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    if let Some(record) = record().as_mut() {
        record.open.remove(&(file as usize));
    }
    // SAFETY: see above; the real function finds its own table there, as it left it.
    unsafe {
        let real = real(file);
        (*file).pMethods = real;
        (*real).xClose.map_or(1, |close| close(file))
    }
}
