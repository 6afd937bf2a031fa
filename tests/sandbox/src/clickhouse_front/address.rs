//! The address at which other replicas fetch parts.
//!
//! A server tells it to its tables when it begins to listen. The library never listens, so that a
//! replicated table of it would stay read-only. The three functions that tables ask are found in the loaded
//! code by the one text that the first of them mentions, and are made to return constants. Everything of
//! this is about x86-64 and the version that install.sh pins; with another one it says that it finds
//! nothing, and touches nothing.

use std::ffi::c_void;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use regex::bytes::Regex;

const HOST: &str = "127.0.0.1";
const TEXT: &str = r"(?-u)Parameter 'interserver_http\(s\)_port' required for replication";
/// `lea register, [rip + offset]`; the offset follows, and counts from the end of the instruction.
const LOADS: &str = r"(?-u)[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]";
/// What fills the space between two functions.
const BETWEEN: [u8; 2] = [0xcc, 0xcc];
const ALIGNMENT: usize = 16;
/// How far the neighbours are, and their first instructions.
const REACH: usize = 1_024;
const CREDENTIALS_BEGIN: [u8; 8] = [0x41, 0x57, 0x41, 0x56, 0x53, 0x4c, 0x8b, 0x3f];
const SCHEME_BEGINS: [u8; 5] = [0x48, 0x8b, 0x06, 0x80, 0xb8];
/// More than the object is large.
const CREDENTIALS_WORDS: usize = 512;

/// Where the functions begin, counted from the library's first byte in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    address: usize,
    credentials: usize,
    scheme: usize,
}

/// Lets replicated tables of the loaded library say that their parts are to be had at this port. Before
/// the library is used for anything.
///
/// # Errors
/// It is not the version that this is made for.
pub(super) fn announce(library: &Path, port: u16) -> Result<()> {
    let loaded = Loaded::of(library)?;
    let cached = cache(library);
    let places = match fs::read_to_string(&cached).ok().as_deref().and_then(parse) {
        Some(places) => places,
        None => {
            let places = loaded.find().context(
                "the library's replication is another than the one that the sandbox knows",
            )?;
            keep(&cached, places);
            places
        }
    };
    let mut address = returned_text(HOST);
    // mov word [rdi + 24], port
    address.extend([0x66, 0xc7, 0x47, 0x18]);
    address.extend(port.to_le_bytes());
    address.extend(RETURN_FIRST_ARGUMENT);
    let mut scheme = returned_text("http");
    scheme.extend(RETURN_FIRST_ARGUMENT);
    // Without user and password.
    let nobody = Box::leak(vec![0u64; CREDENTIALS_WORDS].into_boxed_slice());
    // movabs rax, nobody; xor edx, edx; ret
    let mut credentials = vec![0x48, 0xb8];
    credentials.extend((nobody.as_ptr() as u64).to_le_bytes());
    credentials.extend([0x31, 0xd2, 0xc3]);
    loaded.write(places.address, &address)?;
    loaded.write(places.credentials, &credentials)?;
    loaded.write(places.scheme, &scheme)
}

/// `mov rax, rdi; ret`: where the caller wants the object.
const RETURN_FIRST_ARGUMENT: [u8; 4] = [0x48, 0x89, 0xf8, 0xc3];

/// The library's short string, written to where the first argument points: 23 bytes, then its length.
fn returned_text(text: &str) -> Vec<u8> {
    let mut string = [0u8; 24];
    string[..text.len()].copy_from_slice(text.as_bytes());
    string[23] = text.len() as u8;
    let mut code = vec![];
    for (number, word) in string.chunks(8).enumerate() {
        // movabs rax, word; mov [rdi + 8 * number], rax
        code.extend([0x48, 0xb8]);
        code.extend(word);
        code.extend([0x48, 0x89, 0x47, 8 * number as u8]);
    }
    code
}

/// Finding them takes a second; the file goes when install.sh replaces the library.
fn cache(library: &Path) -> PathBuf {
    library.with_file_name("interserver-functions")
}

fn keep(cached: &Path, places: Places) {
    let Places {
        address,
        credentials,
        scheme,
    } = places;
    let fresh = cached.with_extension(std::process::id().to_string());
    // Without the file they are found again.
    let text = format!("{address} {credentials} {scheme}\n");
    let _ = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, cached));
}

fn parse(text: &str) -> Option<Places> {
    let numbers: Result<Vec<usize>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers.ok()?[..] {
        [address, credentials, scheme] => Some(Places {
            address,
            credentials,
            scheme,
        }),
        _ => None,
    }
}

/// Where the library lies in this process's memory.
struct Loaded {
    base: usize,
    /// What can be read and not be written to, and of it what can be run.
    readable: Vec<Range<usize>>,
    code: Vec<Range<usize>>,
}

impl Loaded {
    fn of(library: &Path) -> Result<Self> {
        let path = fs::canonicalize(library)?;
        let path = path.to_str().context("a path must be UTF-8")?.to_owned();
        let maps = fs::read_to_string("/proc/self/maps")?;
        let (mut base, mut readable, mut code) = (usize::MAX, vec![], vec![]);
        for line in maps.lines().filter(|line| line.ends_with(&path)) {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let (from, to) = range.context("unreadable memory map")?;
            let from = usize::from_str_radix(from, 16)?;
            let to = usize::from_str_radix(to, 16)?;
            base = base.min(from);
            let rights = words.next().unwrap_or_default();
            if !rights.starts_with('r') || rights.contains('w') {
                continue;
            }
            readable.push(from..to);
            if rights.contains('x') {
                code.push(from..to);
            }
        }
        ensure!(!code.is_empty(), "{path} is not loaded");
        Ok(Self {
            base,
            readable,
            code,
        })
    }

    fn find(&self) -> Option<Places> {
        let text = Regex::new(TEXT).expect("a valid expression");
        let text_at = self.readable.iter().find_map(|range| {
            let found = text.find(bytes(range))?;
            Some(range.start + found.start())
        })?;
        self.code.iter().find_map(|range| {
            let code = bytes(range);
            let load = load_of(code, text_at)?;
            let address = beginning(code, load)?;
            let near = (ALIGNMENT..REACH).step_by(ALIGNMENT);
            let mut before = near
                .clone()
                .filter_map(|distance| address.checked_sub(distance));
            let credentials = before.find(|at| code[*at..].starts_with(&CREDENTIALS_BEGIN))?;
            let mut after = near.map(|distance| address + distance);
            let scheme = after.find(|at| {
                let rest = code.get(*at..);
                rest.is_some_and(|rest| rest.starts_with(&SCHEME_BEGINS))
            })?;
            let from_base = |at: usize| range.start + at - self.base;
            Some(Places {
                address: from_base(address),
                credentials: from_base(credentials),
                scheme: from_base(scheme),
            })
        })
    }

    /// Replaces the beginning of a function.
    fn write(&self, place: usize, code: &[u8]) -> Result<()> {
        let at = self.base + place;
        let is_code = |range: &Range<usize>| range.start <= at && at + code.len() <= range.end;
        ensure!(self.code.iter().any(is_code), "no code at {place:#x}");
        let page = at & !0xfff;
        let length = at + code.len() - page;
        let protect = |rights| {
            // SAFETY: these pages are the library's code.
            let done = unsafe { libc::mprotect(page as *mut c_void, length, rights) };
            ensure!(done == 0, "mprotect: {}", std::io::Error::last_os_error());
            Ok(())
        };
        protect(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC)?;
        // SAFETY: the bytes lie in the library's code, which may be written to now; nothing runs it yet.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), at as *mut u8, code.len()) };
        protect(libc::PROT_READ | libc::PROT_EXEC)
    }
}

/// A part of the library, which is never unloaded. Not to be held while [`Loaded::write`] runs.
fn bytes(range: &Range<usize>) -> &'static [u8] {
    // SAFETY: the kernel says that all of this is mapped and readable.
    unsafe { std::slice::from_raw_parts(range.start as *const u8, range.len()) }
}

/// Where the code loads the address of the text.
fn load_of(code: &[u8], text_at: usize) -> Option<usize> {
    let loads = Regex::new(LOADS).expect("a valid expression");
    let base = code.as_ptr() as usize;
    loads.find_iter(code).map(|load| load.end()).find(|at| {
        let offset = code
            .get(*at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        let offset = offset.map(i32::from_le_bytes);
        offset.is_some_and(|offset| (base + at + 4).wrapping_add_signed(offset as isize) == text_at)
    })
}

/// The first byte of the function: behind the last filling before it.
fn beginning(code: &[u8], at: usize) -> Option<usize> {
    let base = code.as_ptr() as usize;
    let mut candidates = (at.saturating_sub(REACH)..at).rev();
    candidates.find(|at| (base + at).is_multiple_of(ALIGNMENT) && code[..*at].ends_with(&BETWEEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_kept_as_three_numbers() {
        let places = Places {
            address: 3,
            credentials: 1,
            scheme: 7,
        };
        assert_eq!(parse("3 1 7\n"), Some(places));
        assert_eq!(parse("3 1"), None);
        assert_eq!(parse("3 1 x"), None);
    }

    #[test]
    fn a_function_is_found_by_the_address_that_it_loads() {
        let mut code = vec![0x90u8; 64];
        code[14..16].copy_from_slice(&BETWEEN);
        code[30..32].copy_from_slice(&BETWEEN);
        code[40..43].copy_from_slice(&[0x48, 0x8d, 0x05]);
        // The filling must end where functions may begin.
        let base = code.as_ptr() as usize;
        let text_at = base + 47 + 1_000;
        code[43..47].copy_from_slice(&1_000i32.to_le_bytes());
        assert_eq!(load_of(&code, text_at), Some(43));
        assert_eq!(load_of(&code, text_at + 1), None);
        let expected = [32, 16]
            .into_iter()
            .find(|at| (base + at).is_multiple_of(ALIGNMENT));
        assert_eq!(beginning(&code, 43), expected);
    }

    #[test]
    fn a_text_is_written_with_its_length_in_the_last_byte() {
        let code = returned_text("127.0.0.1");
        assert_eq!(code.len(), 42);
        assert_eq!(&code[2..10], b"127.0.0.");
        assert_eq!((code[16], code[37]), (b'1', 9));
    }
}
