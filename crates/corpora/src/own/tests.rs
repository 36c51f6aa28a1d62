//! Every kind of file with what is right and what is wrong with it.

use std::fs;

use proptest::prelude::*;

use super::*;

struct Read {
    content: UserText,
    remarks: Vec<String>,
}

fn read_files(files: &[(&str, &[u8])], field: &str, ends: &[&str], vocabulary: usize) -> Result<Read, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        paths.push(path);
    }
    let ends: Vec<String> = ends.iter().map(|end| end.to_string()).collect();
    let text = OwnText { paths: &paths, field, ends: &ends, vocabulary: Some(vocabulary) };
    match read_user_corpus(&text) {
        Ok(UserCorpus { content, remarks }) => Ok(Read { content, remarks }),
        Err(error) => {
            let message = error.to_string();
            assert_eq!(message.lines().count(), 1, "{message}");
            Err(message.replace(&folder.path().display().to_string(), "DIR"))
        }
    }
}

fn read(name: &str, content: &[u8]) -> Result<Read, String> {
    read_files(&[(name, content)], TEXT_FIELD, &[], 1000)
}

fn documents(read: Read) -> Vec<(String, String)> {
    match read.content {
        UserText::Text(documents) => documents.into_iter().map(|document| (document.path, document.text)).collect(),
        UserText::Tokens(_) => panic!("tokens"),
    }
}

fn texts(read: Read) -> Vec<String> {
    documents(read).into_iter().map(|(_, text)| text).collect()
}

fn tokens(read: Read) -> Vec<u32> {
    let UserText::Tokens(tokens) = read.content else { panic!("text") };
    let mut ids = vec![0; tokens.len()];
    tokens.read(0, &mut ids).unwrap();
    ids
}

const KINDS_END: &str =
    "expected a .txt, .jsonl, .json, .csv, .parquet or .bin file (text may be compressed: .jsonl.zst)";

#[test]
fn each_bad_file_has_its_own_line() {
    let cases: [(&str, &[u8], &str); 11] = [
        ("a.txt", b"", "DIR/a.txt: the file is empty, expected text"),
        ("a.txt", b" \n\n", "DIR/a.txt: the file is empty, expected text"),
        ("a.jsonl", b"\n", "DIR/a.jsonl: the file is empty, expected text"),
        ("a.txt", b"ab\xff", "DIR/a.txt: found a byte that is not UTF-8 at offset 2, expected UTF-8 text"),
        (
            "a.jsonl",
            b"{\"text\": \"x\"}\n\n{\"text\": \n",
            "DIR/a.jsonl:3: found broken JSON (it ends at column 10 where a value should be), expected a JSON object",
        ),
        (
            "a.jsonl",
            b"{\"text\": \"x\"}\n{\"body\": \"x\", \"id\": 1}\n",
            "DIR/a.jsonl:2: found no field \"text\" (fields: body, id), expected a text in the field \"text\"",
        ),
        (
            "a.jsonl",
            b"{\"text\": [3]}",
            "DIR/a.jsonl:1: found a list or an object in the field \"text\", expected a text in the field \"text\"",
        ),
        ("a.jsonl", b"[1]", "DIR/a.jsonl:1: found JSON that is no object, expected a JSON object"),
        ("a.bin", b"abc", "DIR/a.bin: found 3 bytes, expected a multiple of 2, the bytes of a token"),
        (
            "a.bin",
            &[0, 0, 0xe7, 3, 0xe8, 3],
            "DIR/a.bin: found token 1000 at position 2, expected ids below the vocabulary's size 1000",
        ),
        ("a.txt", b"x", "DIR/a.txt: found 1 characters, expected enough text that a part of it can be held out"),
    ];
    for (name, content, expected) in cases {
        assert_eq!(read(name, content).err().unwrap(), expected);
    }
    assert_eq!(read("a.docx", b"x").err().unwrap(), format!("DIR/a.docx: found a .docx file, {KINDS_END}"));
    assert_eq!(read("a", b"x").err().unwrap(), format!("DIR/a: found no extension, {KINDS_END}"));
}

#[test]
fn a_missing_file_is_named() {
    let refusal = |name: &str, vocabulary| {
        let text = OwnText { paths: &[name.into()], field: TEXT_FIELD, ends: &[], vocabulary };
        read_user_corpus(&text).unwrap_err().to_string()
    };
    assert!(refusal("/no/such.txt", None).starts_with("cannot read /no/such.txt: "));
    assert!(refusal("/no/such.bin", None).contains("expected a vocabulary"));
    let message = refusal("/no/such/*.txt", None);
    assert_eq!(message, "/no/such/*.txt: found no file of such a name, expected a file or a pattern of file names");
    assert!(refusal("/no/[such", None).contains("expected a file or a pattern"));
}

#[test]
fn good_files_are_read_whole() {
    let jsonl = b"\xef\xbb\xbf{\"text\": \"a\\nb\", \"id\": 1}\r\n\n{\"text\": \"c\"}";
    assert_eq!(texts(read("a.jsonl", jsonl).unwrap()), ["a\nb", "c"]);
    let csv = b"id,body\n1,\"a\nb\"\n2,c\n";
    assert_eq!(texts(read_files(&[("a.csv", csv)], "body", &[], 9).unwrap()), ["a\nb", "c"]);
    let list = b"[{\"body\": \"a\"}, {\"body\": \"b\"}]";
    assert_eq!(texts(read_files(&[("a.json", list)], "body", &[], 9).unwrap()), ["a", "b"]);
}

/// One odd line is no reason to give up a corpus, and is not passed over in silence.
#[test]
fn odd_lines_are_skipped_up_to_a_tenth_and_the_first_is_named() {
    let mut lines = String::from("{\"text\": \"a\", \"score\": NaN}\n{\"text\": \"\\ud83d\"}\n{\"text\": null}\n");
    lines.extend((0..20).map(|i| format!("{{\"text\": \"line {i}\"}}\n")));
    let found = read("a.jsonl", lines.as_bytes()).unwrap();
    assert_eq!(
        found.remarks,
        [
            "a.jsonl: 2 of 23 rows cannot be used, the first at line 2: no text in the field \"text\" (a broken \\ escape)"
        ]
    );
    assert_eq!(texts(found).len(), 21);
    let few: String = lines.lines().take(12).map(|line| format!("{line}\n")).collect();
    assert!(read("a.jsonl", few.as_bytes()).err().unwrap().contains("(2 of 12 rows cannot be used)"));
}

/// TinyStories and its like write the end of a document into the text.
#[test]
fn an_end_of_text_that_is_written_ends_a_document_and_is_told() {
    let found = read("a.txt", b"One day.\n<|endoftext|>\nTwo days.\n<|endoftext|>\n").unwrap();
    assert_eq!(found.remarks, ["2 times <|endoftext|> in the text ends a document"]);
    assert_eq!(
        documents(found),
        [("line 1".to_string(), "One day.\n".to_string()), ("line 2".into(), "\nTwo days.\n".into())]
    );
    let rows = b"{\"text\": \"a<|endoftext|>b\"}\n{\"text\": \"c</s>\"}\n";
    let found = read_files(&[("a.jsonl", rows)], TEXT_FIELD, &["</s>"], 9).unwrap();
    assert_eq!(found.remarks, ["2 times </s> or <|endoftext|> in the text ends a document"]);
    assert_eq!(texts(found), ["a", "b", "c"]);
    // Where it is no end of text, it is text.
    assert_eq!(texts(read("a.jsonl", rows).unwrap()), ["a", "b", "c</s>"]);
    let only = read("a.txt", b"<|endoftext|>\n<|endoftext|>").err().unwrap();
    assert!(only.contains("empty"), "{only}");
}

#[test]
fn a_text_of_one_piece_is_cut_so_that_a_part_can_be_held_out() {
    for (name, content) in [
        ("a.txt", "one line without an end, of some words that can be told apart".to_string()),
        ("a.txt", "a\nb\nc\n".into()),
        ("a.txt", "日本語のテキスト".into()),
        ("a.jsonl", "{\"text\": \"a single document, of some words\"}".into()),
    ] {
        let whole = if name == "a.txt" { content.clone() } else { "a single document, of some words".into() };
        let parts = texts(read(name, content.as_bytes()).unwrap());
        assert!(parts.len() > 1, "{content}");
        assert_eq!(parts.concat(), whole);
    }
}

#[test]
fn several_files_are_one_corpus_in_their_order() {
    let files: [(&str, &[u8]); 2] = [("b.txt", b"one\n\ntwo"), ("a.jsonl", b"{\"text\": \"three\"}")];
    let found = documents(read_files(&files, TEXT_FIELD, &[], 9).unwrap());
    assert_eq!(found, [("line 1".to_string(), "one\n\ntwo".to_string()), ("file 2, line 1".into(), "three".into())]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["2.txt", "1.txt", "3.md"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let paths = [folder.path().join("*.txt")];
    let text = OwnText { paths: &paths, field: TEXT_FIELD, ends: &[], vocabulary: None };
    let UserText::Text(found) = read_user_corpus(&text).unwrap().content else { panic!("tokens") };
    assert_eq!(found.iter().map(|document| document.text.as_str()).collect::<Vec<_>>(), ["1.txt", "2.txt"]);
    let mixed: [(&str, &[u8]); 2] = [("a.bin", &[1, 0, 2, 0]), ("b.txt", b"one")];
    let message = read_files(&mixed, TEXT_FIELD, &[], 9).err().unwrap();
    assert_eq!(message, "DIR/b.txt: found text beside files of token ids, expected files of one kind");
}

/// `printf '{"text": "one"}\n{"text": "two"}\n' | zstd | xxd -i`, with its checksum.
#[test]
fn compressed_text_is_read_like_the_text_in_it() {
    use std::io::Write as _;
    let mut compressed = Vec::new();
    let lines: String = (0..5000).map(|i| format!("{{\"text\": \"line {i}\"}}\n")).collect();
    ruzstd::encoding::compress(lines.as_bytes(), &mut compressed, ruzstd::encoding::CompressionLevel::Fastest);
    let found = texts(read("a.jsonl.zst", &compressed).unwrap());
    assert_eq!((found.len(), found[4999].as_str()), (5000, "line 4999"));
    let cut = read("a.jsonl.zst", &compressed[..compressed.len() / 2]).err().unwrap();
    assert!(cut.starts_with("cannot read DIR/a.jsonl.zst: "), "{cut}");
    let mut none = Vec::new();
    none.write_all(b"{\"text\": \"one\"}").unwrap();
    let refused = read("a.jsonl.zst", &none).err().unwrap();
    assert!(refused.contains("no Zstandard frame"), "{refused}");
}

fn bytes<const N: usize>(ids: &[u32], of: impl Fn(u32) -> [u8; N]) -> Vec<u8> {
    ids.iter().flat_map(|&id| of(id)).collect()
}

fn narrow(ids: &[u32]) -> Vec<u8> {
    bytes(ids, |id| (id as u16).to_le_bytes())
}

fn some_ids() -> Vec<u32> {
    (0..300).map(|i| (i * 7919) % 997).collect()
}

/// Layouts other than 16-bit ids: read for what they are, or refused; never taken for twice as many ids.
#[test]
fn ids_of_any_layout_are_read_as_they_are_or_refused() {
    let ids = some_ids();
    assert_eq!(tokens(read("a.BIN", &narrow(&ids)).unwrap()), ids);
    let wide = read("a.bin", &bytes(&ids, u32::to_le_bytes)).unwrap();
    assert_eq!(wide.remarks, ["a.bin: read as 32-bit ids, since every second 16-bit number is too low for one"]);
    assert_eq!(tokens(wide), ids);
    let many: Vec<u32> = ids.iter().map(|id| id * 128).collect();
    let wide = read_files(&[("a.bin", &bytes(&many, u32::to_le_bytes))], TEXT_FIELD, &[], 128_256).unwrap();
    assert_eq!(tokens(wide), many);
    let refused = [
        (bytes(&ids, |id| u64::from(id).to_le_bytes()), "64-bit integers"),
        (bytes(&ids, |id| (id as f32).to_le_bytes()), "32-bit floats"),
        (bytes(&ids, |id| f64::from(id).to_le_bytes()), "64-bit floats"),
        (bytes(&ids, u32::to_be_bytes), "big-endian integers"),
        (bytes(&ids, |id| (id as u16).to_be_bytes()), "big-endian integers"),
        (bytes(&ids, |id| u64::from(id).to_be_bytes()), "big-endian integers"),
        ([b"\x93NUMPY\x01\x00v\x00".to_vec(), narrow(&ids)].concat(), "a NumPy file (.npy)"),
        ([b"PK\x03\x04".to_vec(), narrow(&ids)].concat(), "a zip archive"),
        ([b"\x1f\x8b".to_vec(), narrow(&ids)].concat(), "gzip's compression"),
    ];
    // Also where the vocabulary is as large as any of 16 bits, so that no number is out of its range.
    for vocabulary in [1000, 50_257] {
        for (content, what) in &refused {
            if vocabulary == 50_257 && *content == bytes(&ids, |id| (id as u16).to_be_bytes()) {
                continue;
            }
            let message = read_files(&[("a.bin", content)], TEXT_FIELD, &[], vocabulary).err().unwrap();
            assert!(message.starts_with(&format!("DIR/a.bin: found {what}")) && message.contains("'<u2'"), "{message}");
        }
    }
    // Zeros and short files tell nothing and are what the name promises.
    assert_eq!(tokens(read("a.bin", &[0; 64]).unwrap()), [0; 32]);
    assert_eq!(tokens(read("a.bin", &[5, 0, 0, 0, 7, 0, 0, 0]).unwrap()), [5, 0, 7, 0]);
}

fn shard_of(magic: u32, version: u32, count: u32, ids: &[u8]) -> Vec<u8> {
    let mut content = [magic.to_le_bytes(), version.to_le_bytes(), count.to_le_bytes()].concat();
    content.resize(1024, 0);
    content.extend(ids);
    content
}

#[test]
fn shards_are_read_by_their_header_and_refused_by_it() {
    let ids = some_ids();
    let of_16 = shard_of(20_240_520, 1, 300, &narrow(&ids));
    let of_32 = shard_of(20_240_801, 7, 300, &bytes(&ids, u32::to_le_bytes));
    assert_eq!(tokens(read("a.bin", &of_16).unwrap()), ids);
    assert_eq!(tokens(read("a.bin", &of_32).unwrap()), ids);
    let both = read_files(&[("a.bin", &of_16), ("b.bin", &of_32)], TEXT_FIELD, &[], 1000).unwrap();
    let UserText::Tokens(both) = both.content else { panic!("text") };
    let mut across = [0; 6];
    both.read(297, &mut across).unwrap();
    assert_eq!((both.len(), &across[..3], &across[3..]), (600, &ids[297..], &ids[..3]));
    for (content, expected) in [
        (
            shard_of(20_240_520, 2, 300, &narrow(&ids)),
            "found version 2 of a shard with magic number 20240520, expected version 1",
        ),
        (
            shard_of(20_240_801, 1, 300, &narrow(&ids)),
            "found version 1 of a shard with magic number 20240801, expected version 7",
        ),
        (
            shard_of(20_240_522, 1, 300, &narrow(&ids)),
            "found magic number 20240522, expected 20240520 (version 1, 16 bits) or 20240801 (version 7, 32 bits)",
        ),
        (
            shard_of(20_240_520, 1, 301, &narrow(&ids)),
            "found 600 bytes behind the header, which promises 301 tokens, expected 602 bytes",
        ),
        (of_16[..700].to_vec(), "found 0 bytes behind the header, which promises 300 tokens, expected 600 bytes"),
    ] {
        assert_eq!(read("a.bin", &content).err().unwrap(), format!("DIR/a.bin: {expected}"));
    }
    let beyond = shard_of(20_240_801, 7, 3, &bytes(&[1, 2, 1000], u32::to_le_bytes));
    assert!(read("a.bin", &beyond).err().unwrap().contains("found token 1000 at position 2"));
    let message = read("a.bin", &shard_of(20_240_520, 1, 0, &[])).err().unwrap();
    assert!(message.contains("empty"), "{message}");
}

proptest! {
    #[test]
    fn pieces_of_a_text_are_the_text(lines in proptest::collection::vec("([a-zé ]{0,400}|)", 1..400)) {
        let text = lines.join("\n");
        prop_assume!(text.chars().filter(|c| !c.is_whitespace()).count() > 1);
        let pieces = texts(read("a.txt", text.as_bytes()).unwrap());
        prop_assert!(pieces.len() > 1 || text.len() > 2);
        let joined = pieces.concat();
        prop_assert_eq!(joined.trim_end(), text.trim_end());
        for piece in &pieces {
            prop_assert!(piece.len() < 2 * 16 * 1024 + 1000);
        }
    }

    #[test]
    fn sixteen_bit_ids_are_never_taken_for_something_else(
        ids in proptest::collection::vec(1_u32..1000, 64..400),
    ) {
        prop_assert_eq!(tokens(read("a.bin", &narrow(&ids)).unwrap()), ids);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(content in proptest::collection::vec(any::<u8>(), 0..1200), kind in 0_usize..6) {
        let name = ["a.bin", "a.txt", "a.jsonl", "a.json", "a.csv", "a.jsonl.zst"][kind];
        let _ = read(name, &content);
    }
}
