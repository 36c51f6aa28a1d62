//! Token ids in files, read from where they lie: a file of 10 GB needs no 10 GB of memory.
//!
//! Layouts, all little-endian:
//! - nanoGPT's: unsigned 16-bit ids and nothing else. The same of 32 bits is told by its values.
//! - shards of llm.c and modded-nanogpt: a header of 256 32-bit integers (a magic number, a version, the number of
//!   tokens), then the ids: magic 20240520, version 1 for 16 bits; 20240801, version 7 for 32 bits.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::error::CorpusError;
use crate::files;

/// Bytes of a shard's header.
const HEADER: usize = 1024;

/// Magic number, version and bytes of an id of the known shards.
const SHARDS: [(u32, u32, usize); 2] = [(20_240_520, 1, 2), (20_240_801, 7, 4)];

/// Numbers that are dates of this century: what the authors of such formats take for magic.
const DATES: std::ops::Range<u32> = 20_000_101..21_000_000;

/// What `.bin` files should be.
const EXPECTED: &str = "unsigned 16-bit or 32-bit little-endian ids (in numpy: ids.astype('<u2').tofile(...)), or a shard \
                        of llm.c (magic 20240520, version 1, or 20240801, version 7)";

/// Bytes that are looked at to tell a layout.
const LOOK: usize = 1 << 20;

/// The ids of one file.
#[derive(Debug)]
struct TokenFile {
    path: PathBuf,
    file: Mutex<File>,
    /// Bytes before the first id.
    start: usize,
    /// Bytes of an id.
    width: usize,
    /// Number of ids.
    length: usize,
}

/// The ids of some files, one after the other. They stay on disk; [`read`](Self::read) fetches some.
#[derive(Debug)]
pub struct TokenFiles {
    files: Vec<TokenFile>,
    length: usize,
    fingerprint: String,
}

impl TokenFiles {
    /// Opens files, and reads each once to check its ids. Returns what is not as one would think beside them.
    ///
    /// # Errors
    /// [`CorpusError`] for a file that cannot be read, is empty, of an unknown layout or cut short, or has an id that
    /// is not below `vocabulary`.
    pub(super) fn open(paths: &[PathBuf], vocabulary: usize) -> Result<(Self, Vec<String>), CorpusError> {
        let mut remarks = Vec::new();
        let mut hasher = Sha256::new();
        let mut opened = Vec::new();
        for path in paths {
            let (file, remark) = TokenFile::open(path, vocabulary)?;
            file.check(vocabulary, &mut hasher)?;
            remarks.extend(remark);
            opened.push(file);
        }
        let length = opened.iter().map(|file| file.length).sum();
        let fingerprint = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((Self { files: opened, length, fingerprint }, remarks))
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// SHA-256 of all ids as they are stored, in hexadecimal digits.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Reads the ids from place `start` on, as many as `into` holds.
    ///
    /// # Errors
    /// [`CorpusError::Read`] if a file is not what it was when it was opened.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn read(&self, start: usize, into: &mut [u32]) -> Result<(), CorpusError> {
        assert!(start + into.len() <= self.length, "{} ids from {start} on of {}", into.len(), self.length);
        let (mut start, mut into) = (start, into);
        for file in &self.files {
            if into.is_empty() {
                break;
            }
            if start >= file.length {
                start -= file.length;
                continue;
            }
            let count = into.len().min(file.length - start);
            let (now, later) = into.split_at_mut(count);
            file.read(start, now)?;
            (start, into) = (0, later);
        }
        Ok(())
    }
}

impl TokenFile {
    fn open(path: &Path, vocabulary: usize) -> Result<(Self, Option<String>), CorpusError> {
        let mut file = files::open(path)?;
        let unread = |source| CorpusError::Read { path: path.into(), source };
        let bytes = file.metadata().map_err(unread)?.len() as usize;
        if bytes == 0 {
            return Err(CorpusError::Empty { path: path.into() });
        }
        let mut head = vec![0; LOOK.min(bytes)];
        file.read_exact(&mut head).map_err(unread)?;
        let wrong = |found: String, expected: &str| CorpusError::TokenLayout {
            path: path.into(),
            found,
            expected: expected.into(),
        };
        let (start, width, remark) = match shard(&head, bytes) {
            Some(Ok(width)) => (HEADER, width, None),
            Some(Err((found, expected))) => return Err(wrong(found, &expected)),
            None => {
                if let Some(found) = foreign(&head, vocabulary) {
                    return Err(wrong(found.into(), EXPECTED));
                }
                if is_wide(&head, vocabulary) {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    (
                        0,
                        4,
                        Some(format!(
                            "{name}: read as 32-bit ids, since every second 16-bit number is too low for one"
                        )),
                    )
                } else {
                    (0, 2, None)
                }
            }
        };
        if !(bytes - start).is_multiple_of(width) {
            return Err(wrong(format!("{bytes} bytes"), &format!("a multiple of {width}, the bytes of a token")));
        }
        let length = (bytes - start) / width;
        if length == 0 {
            return Err(CorpusError::Empty { path: path.into() });
        }
        Ok((Self { path: path.into(), file: Mutex::new(file), start, width, length }, remark))
    }

    /// Reads every id once: all must be below `vocabulary`.
    fn check(&self, vocabulary: usize, hasher: &mut Sha256) -> Result<(), CorpusError> {
        const AT_A_TIME: usize = 1 << 18;
        let mut bytes = Vec::new();
        let mut place = 0;
        while place < self.length {
            let count = AT_A_TIME.min(self.length - place);
            self.bytes(place, count, &mut bytes)?;
            hasher.update(&bytes);
            if let Some((index, token)) =
                ids(&bytes, self.width).enumerate().find(|(_, token)| *token as usize >= vocabulary)
            {
                let position = place + index;
                return Err(CorpusError::TokenOutOfRange { path: self.path.clone(), token, position, vocabulary });
            }
            place += count;
        }
        Ok(())
    }

    fn bytes(&self, start: usize, count: usize, into: &mut Vec<u8>) -> Result<(), CorpusError> {
        into.resize(count * self.width, 0);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let place = SeekFrom::Start((self.start + start * self.width) as u64);
        file.seek(place)
            .and_then(|_| file.read_exact(into))
            .map_err(|source| CorpusError::Read { path: self.path.clone(), source })
    }

    fn read(&self, start: usize, into: &mut [u32]) -> Result<(), CorpusError> {
        let mut bytes = Vec::new();
        self.bytes(start, into.len(), &mut bytes)?;
        into.iter_mut().zip(ids(&bytes, self.width)).for_each(|(place, id)| *place = id);
        Ok(())
    }
}

fn ids(bytes: &[u8], width: usize) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(width).map(|id| id.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

fn integer(head: &[u8], place: usize) -> u32 {
    head.chunks_exact(4).nth(place).map_or(0, |bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The bytes of an id in a shard; what is wrong with it, and what was expected; `None` for what does not begin with a
/// header.
fn shard(head: &[u8], bytes: usize) -> Option<Result<usize, (String, String)>> {
    let (magic, version, count) = (integer(head, 0), integer(head, 1), integer(head, 2) as usize);
    if !DATES.contains(&magic) || head.len() < 8 {
        return None;
    }
    let known =
        SHARDS.map(|(magic, version, width)| format!("{magic} (version {version}, {} bits)", 8 * width)).join(" or ");
    let Some((_, expected, width)) = SHARDS.into_iter().find(|(known, _, _)| *known == magic) else {
        // Ids that happen to begin like a date are followed by ids; a header by zeros.
        let is_header = head.len() >= HEADER && head[16..HEADER].iter().all(|&byte| byte == 0);
        return is_header.then(|| Err((format!("magic number {magic}"), known)));
    };
    if version != expected {
        return Some(Err((
            format!("version {version} of a shard with magic number {magic}"),
            format!("version {expected}"),
        )));
    }
    if bytes < HEADER || bytes - HEADER != count * width {
        let there = bytes.saturating_sub(HEADER);
        let found = format!("{there} bytes behind the header, which promises {count} tokens");
        return Some(Err((found, format!("{} bytes", count * width))));
    }
    Some(Ok(width))
}

/// The least number of ids from which a layout is told.
const FEWEST: usize = 8;

/// Whether ids of 32 bits are what makes sense: read so, all are below the vocabulary's size, and there are others than
/// 0. Of 16-bit ids every second one would have to be close to 0.
fn is_wide(head: &[u8], vocabulary: usize) -> bool {
    let known = ids(head, 4).take(LOOK / 4);
    let (mut count, mut nonzero) = (0, 0);
    for id in known {
        if id as usize >= vocabulary {
            return false;
        }
        count += 1;
        nonzero += usize::from(id != 0);
    }
    // Where half of the ids are 0 there is nothing to tell by.
    count >= FEWEST && 2 * nonzero > count
}

/// What a file is that is not made of unsigned 16-bit or 32-bit ids, if that can be told.
fn foreign(head: &[u8], vocabulary: usize) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"\x93NUMPY", "a NumPy file (.npy)"),
        (b"PK\x03\x04", "a zip archive (.npz or .pt)"),
        (b"\x1f\x8b", "gzip's compression"),
        (b"\x28\xb5\x2f\xfd", "Zstandard's compression"),
        (b"\x89HDF", "an HDF5 file"),
        (b"PAR1", "a Parquet file"),
    ];
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(what);
    }
    let as_floats = |width: usize| {
        let numbers: Vec<f64> = match width {
            4 => head.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect(),
            _ => head
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
                .collect(),
        };
        are_ids(&numbers, vocabulary)
    };
    let swapped = |width: usize| {
        let ids = head.chunks_exact(width).map(|id| id.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)));
        ids.map(|id| id as f64).collect::<Vec<f64>>()
    };
    let is_short = |width: usize| head.len() < width * FEWEST;
    let long: Vec<f64> = head
        .chunks_exact(8)
        .map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f64)
        .collect();
    if !is_short(8) && are_ids(&long, vocabulary) {
        return Some("64-bit integers");
    }
    if !is_short(4) && as_floats(4) {
        return Some("32-bit floats");
    }
    if !is_short(8) && as_floats(8) {
        return Some("64-bit floats");
    }
    if !is_short(8) && are_ids(&swapped(8), vocabulary) || !is_short(4) && are_ids(&swapped(4), vocabulary) {
        return Some("big-endian integers");
    }
    // 16-bit ids in the other order: as they are, some are past the vocabulary; swapped, none is.
    let beyond = ids(head, 2).any(|id| id as usize >= vocabulary);
    (!is_short(2) && beyond && are_ids(&swapped(2), vocabulary)).then_some("big-endian integers")
}

/// Whether these are ids: whole numbers below the vocabulary's size, most of them not 0.
fn are_ids(numbers: &[f64], vocabulary: usize) -> bool {
    let is_id = |number: &f64| *number >= 0.0 && *number < vocabulary as f64 && number.fract() == 0.0;
    numbers.iter().all(is_id) && 2 * numbers.iter().filter(|number| **number != 0.0).count() > numbers.len()
}
