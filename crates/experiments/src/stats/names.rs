//! How checkpoints, methods and tasks are called in figures, tables and sentences.

/// Display name of a checkpoint or method: `adamw` is "AdamW", `lora-16` "LoRA-16", and
/// `adamw-long` "AdamW (long)". A name that is not known stays as it is.
pub fn display(name: &str) -> String {
    if let Some(rank) = lora_rank(name) {
        return format!("LoRA-{rank}");
    }
    let (head, rest) = name.split_once('-').unwrap_or((name, ""));
    let head = match head {
        "adamw" => "AdamW",
        "muon" => "Muon",
        "sgd" => "SGD",
        "lion" => "Lion",
        "shampoo" => "Shampoo",
        _ => return name.to_owned(),
    };
    if rest.is_empty() { head.to_owned() } else { format!("{head} ({})", rest.replace('-', " ")) }
}

/// The rank of a method called `lora-RANK` or `loraRANK`.
pub fn lora_rank(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("lora")?;
    rest.strip_prefix('-').unwrap_or(rest).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_spelled_as_in_the_literature() {
        assert_eq!(display("adamw"), "AdamW");
        assert_eq!(display("lora-16"), "LoRA-16");
        assert_eq!(display("lora4"), "LoRA-4");
        assert_eq!(display("muon-low-rate"), "Muon (low rate)");
        assert_eq!(display("something-else"), "something-else");
    }
}
