//! ClickHouse's engine as a library: the few functions of `libchdb.so` the front needs, with
//! owners for what they return.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::Path;
use std::ptr::NonNull;

use anyhow::{Context, Result};
use libloading::Library;

/// An opaque object of the library.
type Handle = *mut c_void;

/// The functions of the library. They may be called from any thread; one connection is used by
/// one thread at a time.
struct Functions {
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle,
    close: unsafe extern "C" fn(*mut Handle),
    query: unsafe extern "C" fn(
        Handle,
        *const c_char,
        usize,
        *const c_char,
        usize,
        *const *const c_char,
        *const usize,
        *const *const c_char,
        *const usize,
        usize,
    ) -> Handle,
    result_buffer: unsafe extern "C" fn(Handle) -> *const u8,
    result_length: unsafe extern "C" fn(Handle) -> usize,
    result_error: unsafe extern "C" fn(Handle) -> *const c_char,
    result_rows_read: unsafe extern "C" fn(Handle) -> u64,
    result_rows_written: unsafe extern "C" fn(Handle) -> u64,
    result_free: unsafe extern "C" fn(Handle),
    insert: unsafe extern "C" fn(Handle, *const c_char, usize, *const c_char, usize) -> Handle,
    insert_append: unsafe extern "C" fn(Handle, *const u8, usize) -> c_int,
    insert_done: unsafe extern "C" fn(Handle) -> Handle,
    insert_error: unsafe extern "C" fn(Handle) -> *const c_char,
    insert_cancel: unsafe extern "C" fn(Handle),
    insert_free: unsafe extern "C" fn(Handle),
    /// Keeps the code behind the pointers above mapped.
    _library: Library,
}

/// What the engine answered to a statement.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) output: Vec<u8>,
    pub(super) rows_read: u64,
    pub(super) rows_written: u64,
}

/// The loaded engine, working on one data directory.
pub(super) struct Engine {
    functions: Functions,
    /// `--path=…`, and `--config-file=…` where there is one.
    arguments: Vec<CString>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Loads the library; `data` is created when missing. One process can open one directory. `config`: its
    /// configuration as XML.
    pub(super) fn load(library: &Path, data: &Path, config: Option<&Path>) -> Result<Self> {
        let functions =
            load(library).with_context(|| format!("cannot load {}", library.display()))?;
        let argument = |name: &str, path: &Path| {
            let path = path.to_str().context("a path must be UTF-8")?;
            anyhow::Ok(CString::new(format!("--{name}={path}"))?)
        };
        let mut arguments = vec![argument("path", data)?];
        if let Some(config) = config {
            arguments.push(argument("config-file", config)?);
        }
        Ok(Self {
            functions,
            arguments,
        })
    }

    pub(super) fn connect(&self) -> Result<Connection<'_>, String> {
        let program = c"clickhouse";
        let own = self.arguments.iter().map(|argument| argument.as_c_str());
        let mut arguments: Vec<*mut c_char> = std::iter::once(program)
            .chain(own)
            .map(|argument| argument.as_ptr().cast_mut())
            .collect();
        // SAFETY: the arguments are NUL-terminated strings that outlive the call; the library
        // does not write through them.
        let connection =
            unsafe { (self.functions.connect)(arguments.len() as c_int, arguments.as_mut_ptr()) };
        match NonNull::new(connection) {
            // SAFETY: a connection that is not null points to its handle.
            Some(connection) if unsafe { !connection.as_ref().is_null() } => Ok(Connection {
                functions: &self.functions,
                connection,
            }),
            _ => Err("Code: 210. DB::Exception: the engine refused a connection".to_owned()),
        }
    }
}

fn load(path: &Path) -> Result<Functions, libloading::Error> {
    // SAFETY: the library's initialisers may run at any time. The types of its functions are
    // those of chdb.h of the version that install.sh pins.
    unsafe {
        let library = Library::new(path)?;
        let set_signal_handlers: unsafe extern "C" fn(c_int) =
            *library.get(b"chdb_set_signal_handlers_enabled\0")?;
        set_signal_handlers(0);
        Ok(Functions {
            connect: *library.get(b"chdb_connect\0")?,
            close: *library.get(b"chdb_close_conn\0")?,
            query: *library.get(b"chdb_query_with_params_n\0")?,
            result_buffer: *library.get(b"chdb_result_buffer\0")?,
            result_length: *library.get(b"chdb_result_length\0")?,
            result_error: *library.get(b"chdb_result_error\0")?,
            result_rows_read: *library.get(b"chdb_result_rows_read\0")?,
            result_rows_written: *library.get(b"chdb_result_rows_written\0")?,
            result_free: *library.get(b"chdb_destroy_query_result\0")?,
            insert: *library.get(b"chdb_stream_insert_n\0")?,
            insert_append: *library.get(b"chdb_stream_append\0")?,
            insert_done: *library.get(b"chdb_stream_done\0")?,
            insert_error: *library.get(b"chdb_stream_insert_error\0")?,
            insert_cancel: *library.get(b"chdb_stream_cancel_insert\0")?,
            insert_free: *library.get(b"chdb_destroy_insert_stream\0")?,
            _library: library,
        })
    }
}

/// One session: settings made with SET last as long as it does.
pub(super) struct Connection<'e> {
    functions: &'e Functions,
    connection: NonNull<Handle>,
}

impl Connection<'_> {
    /// Runs a statement; `format` is used where it names none.
    pub(super) fn query(
        &self,
        sql: &[u8],
        format: &str,
        parameters: &[(String, String)],
    ) -> Result<Answer, String> {
        let names: Vec<*const c_char> = parameters.iter().map(|(n, _)| n.as_ptr().cast()).collect();
        let name_lengths: Vec<usize> = parameters.iter().map(|(n, _)| n.len()).collect();
        let values: Vec<*const c_char> =
            parameters.iter().map(|(_, v)| v.as_ptr().cast()).collect();
        let value_lengths: Vec<usize> = parameters.iter().map(|(_, v)| v.len()).collect();
        // SAFETY: the connection is open; every pointer comes with its length and outlives the
        // call; the four arrays have as many elements as the last argument says.
        let result = unsafe {
            (self.functions.query)(
                *self.connection.as_ref(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_lengths.as_ptr(),
                values.as_ptr(),
                value_lengths.as_ptr(),
                parameters.len(),
            )
        };
        self.functions.answer(result)
    }

    /// Begins an insert whose rows follow in pieces; `sql` ends before the word FORMAT.
    pub(super) fn insert(&self, sql: &str, format: &str) -> Result<Insert<'_>, String> {
        // SAFETY: the connection is open; both texts come with their lengths and outlive the call.
        let handle = unsafe {
            (self.functions.insert)(
                *self.connection.as_ref(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
            )
        };
        let insert = Insert {
            functions: self.functions,
            handle,
        };
        match insert.error() {
            Some(error) => Err(error),
            None => Ok(insert),
        }
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        // SAFETY: the connection is open, and nothing that borrows it is left.
        unsafe { (self.functions.close)(self.connection.as_ptr()) }
    }
}

impl Functions {
    /// Takes the answer out of a result and frees it.
    fn answer(&self, result: Handle) -> Result<Answer, String> {
        if result.is_null() {
            return Err("Code: 1002. DB::Exception: the engine gave no result".to_owned());
        }
        // SAFETY: the result is valid until it is freed, at the end; what it points to is copied
        // before that.
        unsafe {
            let answer = match text((self.result_error)(result)) {
                Some(error) => Err(error),
                None => Ok(Answer {
                    output: bytes((self.result_buffer)(result), (self.result_length)(result)),
                    rows_read: (self.result_rows_read)(result),
                    rows_written: (self.result_rows_written)(result),
                }),
            };
            (self.result_free)(result);
            answer
        }
    }
}

/// An insert under way. Dropped before [`Insert::finish`] it is cancelled, and what the engine
/// has not yet made a part of is gone.
pub(super) struct Insert<'c> {
    functions: &'c Functions,
    handle: Handle,
}

impl Insert<'_> {
    pub(super) fn append(&mut self, data: &[u8]) -> Result<(), String> {
        // SAFETY: the insert is open, and the data comes with its length.
        let failed =
            unsafe { (self.functions.insert_append)(self.handle, data.as_ptr(), data.len()) } != 0;
        if failed {
            Err(self.error().unwrap_or_else(|| UNNAMED.to_owned()))
        } else {
            Ok(())
        }
    }

    pub(super) fn finish(self) -> Result<Answer, String> {
        // SAFETY: the insert is open; drop frees it after the result was taken.
        let result = unsafe { (self.functions.insert_done)(self.handle) };
        self.functions.answer(result)
    }

    fn error(&self) -> Option<String> {
        if self.handle.is_null() {
            return Some(UNNAMED.to_owned());
        }
        // SAFETY: the insert is open; the text is copied.
        unsafe { text((self.functions.insert_error)(self.handle)) }
    }
}

const UNNAMED: &str = "Code: 1002. DB::Exception: the engine refused the insert without a reason";

impl Drop for Insert<'_> {
    fn drop(&mut self) {
        if self.handle.is_null() {
            return;
        }
        // SAFETY: the insert is valid until it is freed here; cancelling a finished one does
        // nothing.
        unsafe {
            (self.functions.insert_cancel)(self.handle);
            (self.functions.insert_free)(self.handle);
        }
    }
}

/// # Safety
/// `pointer` is null or points to a NUL-terminated string.
unsafe fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: not null, so the caller promises a string.
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned())
}

/// # Safety
/// `pointer` points to `length` bytes, or `length` is 0.
unsafe fn bytes(pointer: *const u8, length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    // SAFETY: the caller promises that many bytes.
    unsafe { std::slice::from_raw_parts(pointer, length) }.to_vec()
}
