//! TensorBoard's event files: protocol buffers in records with checksums.
//!
//! A record is the length of its data (8 bytes), the masked CRC-32C of these 8 bytes, the data, and its masked CRC-32C,
//! all little-endian (TensorFlow's `record_writer.h`). The data is an `Event` of TensorFlow's `event.proto`:
//! `wall_time` = 1, `step` = 2, `file_version` = 3, `summary` = 5, which holds values with a `tag` = 1 and a
//! `simple_value` = 2.

use std::collections::HashSet;

/// Bytes of a record beside its data: length, its checksum, the data's checksum.
const FRAME: usize = 8 + 4 + 4;

/// Numbers by step, as the bytes of an event file or of its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Events {
    bytes: Vec<u8>,
}

impl Events {
    /// The beginning of a file, made at a time in seconds since 1970.
    pub(super) fn begin(&mut self, time: f64) {
        let mut event = wall_time(time);
        event.extend(bytes_field(3, b"brain.Event:2"));
        self.record(&event);
    }

    /// Adds numbers at a step that was made at a time in seconds since 1970.
    pub(super) fn add(&mut self, time: f64, step: u64, numbers: &[(String, f64)]) {
        let mut event = wall_time(time);
        event.push(2 << 3);
        event.extend(varint(step));
        let mut summary = Vec::new();
        for (tag, number) in numbers {
            let mut value = bytes_field(1, tag.as_bytes());
            value.push(2 << 3 | 5);
            value.extend((*number as f32).to_le_bytes());
            summary.extend(bytes_field(1, &value));
        }
        event.extend(bytes_field(5, &summary));
        self.record(&event);
    }

    /// The content.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn record(&mut self, data: &[u8]) {
        let length = (data.len() as u64).to_le_bytes();
        self.bytes.extend(length);
        self.bytes.extend(masked_crc(&length).to_le_bytes());
        self.bytes.extend(data);
        self.bytes.extend(masked_crc(data).to_le_bytes());
    }
}

/// What an event file holds already.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Written {
    /// Length of its whole records; what follows was cut off or damaged.
    pub(super) bytes: u64,
    /// The steps and tags of its numbers.
    pub(super) numbers: HashSet<(u64, String)>,
    /// The last of its numbers in time: its step and time.
    pub(super) last: Option<(u64, f64)>,
}

impl Written {
    /// Reads a file's whole records. One that was made without times, as earlier releases did, counts as empty: it is
    /// to be made anew.
    pub(super) fn read(content: &[u8]) -> Self {
        let mut written = Self::default();
        let mut rest = content;
        while let Some((event, after)) = record(rest).and_then(|(data, after)| Some((Event::read(data)?, after))) {
            if event.time == 0.0 {
                return Self::default();
            }
            rest = after;
            if !event.tags.is_empty() && written.last.is_none_or(|(_, time)| event.time >= time) {
                written.last = Some((event.step, event.time));
            }
            written.numbers.extend(event.tags.into_iter().map(|tag| (event.step, tag)));
        }
        written.bytes = (content.len() - rest.len()) as u64;
        written
    }
}

/// The data of the first record, and what follows it; nothing if it is not whole.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = bytes.get(..8)?;
    let count = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    let data = bytes.get(12..count.checked_add(12)?)?;
    let sum = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let is_whole = sum(8)? == masked_crc(length) && sum(12 + count)? == masked_crc(data);
    is_whole.then(|| (data, &bytes[count + FRAME..]))
}

/// What is read of an event.
#[derive(Default)]
struct Event {
    time: f64,
    step: u64,
    tags: Vec<String>,
}

impl Event {
    fn read(data: &[u8]) -> Option<Self> {
        let mut event = Self::default();
        for field in Fields(data) {
            match field? {
                (1, Field::Wide(bits)) => event.time = f64::from_bits(bits),
                (2, Field::Number(step)) => event.step = step,
                (5, Field::Bytes(summary)) => {
                    for value in Fields(summary) {
                        let (1, Field::Bytes(value)) = value? else {
                            continue;
                        };
                        for field in Fields(value) {
                            if let (1, Field::Bytes(tag)) = field? {
                                event.tags.push(String::from_utf8_lossy(tag).into_owned());
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Some(event)
    }
}

/// A field of a protocol buffer.
enum Field<'a> {
    Number(u64),
    Wide(u64),
    Bytes(&'a [u8]),
    Narrow,
}

/// The fields of a protocol buffer with their numbers; `None` where it does not read, and then no more.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.number()?;
        let field = match key & 7 {
            0 => Field::Number(self.number()?),
            1 => Field::Wide(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Narrow)?,
            _ => return None,
        };
        Some((key >> 3, field))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

/// The field `wall_time`, a double; left out where it is zero, as protocol buffers are written.
fn wall_time(seconds: f64) -> Vec<u8> {
    if seconds == 0.0 {
        return Vec::new();
    }
    let mut field = vec![1 << 3 | 1];
    field.extend(seconds.to_le_bytes());
    field
}

fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(bytes.len() as u64));
    field.extend(bytes);
    field
}

/// Seven bits a byte, the lowest first; all bytes but the last have the highest bit set.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// CRC-32C (Castagnoli), a bit at a time: an export is small.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

fn masked_crc(bytes: &[u8]) -> u32 {
    crc(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C in the catalogue of CRC algorithms.
        assert_eq!(crc(b"123456789"), 0xe306_9283);
    }

    /// With the Python package `tensorboard`:
    ///
    /// ```python
    /// from tensorboard.compat.proto import event_pb2, summary_pb2
    /// from tensorboard.summary.writer.record_writer import RecordWriter
    /// import io
    /// out, S = io.BytesIO(), summary_pb2.Summary
    /// w = RecordWriter(out)
    /// w.write(event_pb2.Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    /// values = [S.Value(tag="loss/training", simple_value=2.5), S.Value(tag="gradient norm", simple_value=0.125)]
    /// w.write(event_pb2.Event(wall_time=300.0, step=300, summary=S(value=values)).SerializeToString())
    /// print(out.getvalue().hex())
    /// ```
    #[test]
    fn the_bytes_are_those_of_tensorboards_own_writer() {
        let expected = "0f000000000000006d532b091a0d627261696e2e4576656e743a32fc9851293a000000000000001295eae2090000000000c0724010ac02\
                        2a2c0a140a0d6c6f73732f747261696e696e6715000020400a140a0d6772616469656e74206e6f726d150000003eb301c757";
        let mut file = Events::default();
        file.begin(0.0);
        file.add(300.0, 300, &[("loss/training".to_string(), 2.5), ("gradient norm".to_string(), 0.125)]);
        let found: String = file.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_written_is_read_back_up_to_a_torn_record() {
        let mut file = Events::default();
        file.begin(1e9);
        file.add(1e9 + 1.0, 300, &[("loss".to_string(), 2.5), ("norm".to_string(), 0.125)]);
        let whole = file.bytes.len();
        file.add(1e9 + 2.0, 301, &[("loss".to_string(), 2.0)]);
        let torn = Written::read(&file.bytes[..file.bytes.len() - 1]);
        let numbers = [(300, "loss".to_string()), (300, "norm".to_string())];
        let expected = Written { bytes: whole as u64, numbers: numbers.into(), last: Some((300, 1e9 + 1.0)) };
        assert_eq!(torn, expected);
        let all = Written::read(&file.bytes);
        assert_eq!((all.bytes as usize, all.last), (file.bytes.len(), Some((301, 1e9 + 2.0))));
        let mut damaged = file.bytes.clone();
        damaged[whole - 1] ^= 1;
        assert!(Written::read(&damaged).numbers.is_empty());
    }

    #[test]
    fn a_file_without_times_is_made_anew() {
        let mut file = Events::default();
        file.begin(0.0);
        file.add(300.0, 300, &[("loss".to_string(), 2.5)]);
        assert_eq!(Written::read(&file.bytes), Written::default());
    }

    proptest::proptest! {
        #[test]
        fn reading_arbitrary_bytes_never_panics(bytes: Vec<u8>) {
            let _ = Written::read(&bytes);
            let mut file = Events::default();
            file.record(&bytes);
            let _ = Written::read(&file.bytes);
        }
    }
}
