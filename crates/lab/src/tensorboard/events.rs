//! TensorBoard's event files: protocol buffers in records with checksums.
//!
//! A record is the length of its data (8 bytes), the masked CRC-32C of these 8 bytes, the data, and its masked CRC-32C,
//! all little-endian (TensorFlow's `record_writer.h`). The data is an `Event` of TensorFlow's `event.proto`:
//! `wall_time` = 1, `step` = 2, `file_version` = 3, `summary` = 5, which holds values with a `tag` = 1 and a
//! `simple_value` = 2.

/// Numbers by step, as the bytes of an event file.
#[derive(Debug, Clone)]
pub(super) struct EventFile {
    bytes: Vec<u8>,
}

impl EventFile {
    /// A file without numbers.
    pub(super) fn new() -> Self {
        let mut file = Self { bytes: Vec::new() };
        file.record(&bytes_field(3, b"brain.Event:2"));
        file
    }

    /// Adds numbers at a step. There are no times in a run store, so that its files do not depend on them: the step
    /// stands for the second.
    pub(super) fn add(&mut self, step: u64, numbers: &[(String, f64)]) {
        let mut event = time(step);
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

    /// The file's content.
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

/// The field `wall_time`, a double.
fn time(seconds: u64) -> Vec<u8> {
    let mut field = vec![1 << 3 | 1];
    field.extend((seconds as f64).to_le_bytes());
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
        let mut file = EventFile::new();
        file.add(300, &[("loss/training".to_string(), 2.5), ("gradient norm".to_string(), 0.125)]);
        let found: String = file.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, expected);
    }
}
