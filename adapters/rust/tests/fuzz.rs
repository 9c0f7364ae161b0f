//! The readers of a Program and of tensors, given right bytes with changes: a value or an error, never a panic.

use inferena_worker::{Entry, Program, Result, Tensors};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// What readers stumble over.
const PIECES: [&[u8]; 12] =
    [b"[", b"{", b"\"", b"null", b"-1", b"1e999", b"[]", b"{}", b"99999999999999999999", b"\xff", b"\0", b"\"x\""];

/// Numbers that look random, the same ones in each run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % end.max(1)
    }

    /// Right bytes, of which one to four places are replaced, or a whole list or object.
    fn changed(&mut self, right: &[u8]) -> Vec<u8> {
        let mut content = right.to_vec();
        for _ in 0..=self.below(4) {
            let begin = self.below(content.len());
            let opening = (begin..content.len()).find(|at| b"[{".contains(&content[*at]));
            let (begin, end) = match opening {
                Some(at) if self.below(2) == 0 => (at, closing(&content, at)),
                _ => (begin, (begin + [0, 1, 2, 8, 40][self.below(5)]).min(content.len())),
            };
            content.splice(begin..end, PIECES[self.below(PIECES.len())].iter().copied());
        }
        content
    }
}

/// Behind the end of the list or object that begins at a place.
fn closing(content: &[u8], begin: usize) -> usize {
    let mut depth = 0;
    let end = content[begin..].iter().position(|byte| {
        depth += i32::from(b"[{".contains(byte)) - i32::from(b"]}".contains(byte));
        depth == 0
    });
    end.map_or(content.len(), |end| begin + end + 1)
}

fn tensors(header: &Value, bytes: usize) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![1; bytes]].concat()
}

/// A Program of one entry, by the names of its files.
fn right() -> Vec<(&'static str, Vec<u8>)> {
    let spec = |name| json!({"name": name, "shape": [2, 2], "dtype": "float32"});
    let head = json!({"format": "inferena-program", "version": 1});
    let document = |fields: Value| {
        let mut all = head.clone();
        all.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        all.to_string().into_bytes()
    };
    let stored = json!({"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}});
    let linear = json!({"op": "linear", "args": {"x": {"ref": "x"}, "weight": {"ref": "w"}}, "out": [spec("y")]});
    let slice = json!({"op": "slice", "args": {"x": {"ref": "y"}, "dim": 0, "start": 0, "end": 1, "step": 1},
        "out": [spec("z")]});
    vec![
        ("program.json", document(json!({"parameters": [spec("w")], "trainable": ["w"]}))),
        (
            "latency.json",
            document(json!({"entry": "latency", "parameters": ["w"], "outputs": {"output": "z"},
                "nodes": [linear, slice]})),
        ),
        ("latency.inputs.safetensors", tensors(&stored, 16)),
        ("latency.constants.safetensors", tensors(&json!({}), 0)),
    ]
}

/// All that the server reads of a Program before an engine gets it.
fn read(folder: &Path) -> Result<usize> {
    let program = Program::read(folder)?;
    let entry = Entry::read(&program, "latency")?;
    let tensors = Tensors::open(&folder.join("latency.inputs.safetensors"))?.all()?;
    for node in entry.nodes()? {
        node.dtype()?;
    }
    Ok(tensors.len())
}

#[test]
fn whatever_the_bytes_are() {
    let folder = std::env::temp_dir().join(format!("inferena-readers-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let files = right();
    for (name, content) in &files {
        fs::write(folder.join(name), content).expect("room");
    }
    assert_eq!(1, read(&folder).expect("it is right"));
    let count = std::env::var("INFERENA_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let (mut numbers, mut refused) = (Numbers(7), 0);
    for turn in 0..count {
        let (name, content) = &files[turn % files.len()];
        let bytes = numbers.changed(content);
        fs::write(folder.join(name), &bytes).expect("room");
        let done = std::panic::catch_unwind(|| read(&folder));
        assert!(done.is_ok(), "a panic at {name} of {}", String::from_utf8_lossy(&bytes));
        refused += usize::from(done.is_ok_and(|read| read.is_err()));
        fs::write(folder.join(name), content).expect("room");
    }
    fs::remove_dir_all(&folder).expect("it is ours");
    assert!(refused > count / 4, "only {refused} of {count} were refused");
}
