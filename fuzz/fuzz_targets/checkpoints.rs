//! A folder with a `config.json` and a `model.safetensors`: refused in one line, or read into a network of its shape.
//!
//! An input is the configuration, a zero byte, and the weights.
#![no_main]

use lab_fuzz::{file, folder, one_line};
use libfuzzer_sys::fuzz_target;
use models::checkpoint::Source;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    file("checkpoint/config.json", &bytes[..end]);
    file("checkpoint/model.safetensors", bytes.get(end + 1..).unwrap_or_default());
    let source = match Source::open(&folder().join("checkpoint")) {
        Ok(source) => source,
        Err(error) => return one_line(&error),
    };
    match source.read() {
        Ok(network) => assert_eq!(network.config(), source.config()),
        Err(error) => one_line(&error),
    }
});
