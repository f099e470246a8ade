// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may import whom: every path in `src` against the table of layers in ARCHITECTURE.md.
//!
//! A small tokenizer drops comments and strings, expands `use` groups, resolves `super` and
//! `self`, and yields every path that starts at `crate`, `std` or an external crate. Both the
//! modules of this crate and the external crates a layer may name are checked.

use std::{
    fs,
    path::{Path, PathBuf},
};

const VOCABULARY: &[&str] = &["frame", "ids", "time", "track"];
const FORMATS: &[&str] = &["ebml", "mkv", "wire"];

/// What one top-level module may name.
struct Rule {
    /// Modules of this crate, as path prefixes; the module itself is always allowed.
    modules: &'static [&'static [&'static str]],
    /// External paths that it must not name.
    forbidden: &'static [&'static [&'static str]],
    /// When not empty: the only external crates that it may name.
    only: &'static [&'static str],
}

const GST: &[&str] = &["gst", "gst_base", "gst_video", "gst_app", "gst_check", "glib"];
/// What touches the world. `SystemTime` is missing: aws-sigv4 takes one, and clippy's
/// disallowed-methods already keeps everybody but `io::clock` from reading a clock.
const EDGE: &[&str] = &[
    "clap",
    "hyper",
    "hyper_util",
    "libc",
    "redb",
    "reqwest",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "tokio",
    "tracing",
    "tracing_subscriber",
];
const SERVER_PARTS: &[&str] = &["clap", "crc32c", "hyper", "redb", "tracing", "tracing_subscriber"];

/// The table. `None`: the file may name anything.
fn rule(module: &str) -> Option<Rule> {
    const LAYERS_01: &[&[&str]] = &[VOCABULARY, FORMATS];
    let pure = |modules| Rule { modules, forbidden: &[GST, EDGE], only: &[] };
    Some(match module {
        "frame" | "ids" | "time" | "track" => Rule {
            modules: &[VOCABULARY],
            forbidden: &[EDGE],
            only: &["std", "core", "bytes", "thiserror", "time"],
        },
        "ebml" => pure(&[VOCABULARY]),
        "mkv" => pure(&[VOCABULARY, &["ebml"]]),
        "wire" => pure(&[VOCABULARY, &["ebml", "mkv"]]),
        "retry" => pure(LAYERS_01),
        "producer" | "consumer" => pure(&[VOCABULARY, FORMATS, &["retry"]]),
        "io" => Rule {
            modules: &[VOCABULARY, FORMATS, &["retry", "producer", "consumer"]],
            forbidden: &[GST, SERVER_PARTS],
            only: &[],
        },
        "connection" => Rule {
            modules: &[VOCABULARY, FORMATS, &["retry", "io"]],
            forbidden: &[SERVER_PARTS],
            only: &[],
        },
        "kvssink" => Rule {
            modules: &[VOCABULARY, FORMATS, &["retry", "io", "producer", "connection"]],
            forbidden: &[SERVER_PARTS],
            only: &[],
        },
        "kvssrc" => Rule {
            modules: &[VOCABULARY, FORMATS, &["retry", "io", "consumer", "connection"]],
            forbidden: &[SERVER_PARTS],
            only: &[],
        },
        "plugin" => {
            Rule { modules: &[&["kvssink", "kvssrc"]], forbidden: &[SERVER_PARTS], only: &[] }
        }
        "server" => {
            Rule { modules: &[VOCABULARY, FORMATS, &["io::clock"]], forbidden: &[GST], only: &[] }
        }
        "fuzzing" => pure(&[VOCABULARY, FORMATS, &["retry", "producer", "consumer"]]),
        "lib" | "bin" => return None,
        _ => Rule { modules: &[], forbidden: &[GST, EDGE], only: &[] },
    })
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Ident(String),
    /// `::`
    Path,
    Other(char),
}

/// Splits Rust source into tokens with their lines, without comments, strings and lifetimes.
fn tokens(source: &str) -> Vec<(usize, Token)> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    let word = |c: char| c.is_alphanumeric() || c == '_';
    while i < text.len() {
        let start = i;
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < text.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                while i < text.len() && !(at(i) == '*' && at(i + 1) == '/') {
                    i += 1;
                }
                i += 2;
            }
            '"' => {
                i += 1;
                while i < text.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
            }
            'r' if at(i + 1) == '"' || (at(i + 1) == '#' && matches!(at(i + 2), '"' | '#')) => {
                let hashes = (1..).take_while(|n| at(i + n) == '#').count();
                i += hashes + 2;
                while i < text.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                    i += 1;
                }
                i += hashes + 1;
            }
            '\'' if at(i + 1) == '\\' || (at(i + 2) == '\'' && at(i + 1) != '\'') => {
                i += 2;
                while i < text.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' => i += 1,
            c if word(c) => {
                while word(at(i)) {
                    i += 1;
                }
                out.push((line, Token::Ident(text[start..i].iter().collect())));
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                out.push((line, Token::Path));
            }
            c => {
                i += 1;
                if !c.is_whitespace() {
                    out.push((line, Token::Other(c)));
                }
            }
        }
        line += text[start..i.min(text.len())].iter().filter(|c| **c == '\n').count();
    }
    out
}

/// Every path in the tokens: its line and its segments, `use` groups expanded.
fn paths(tokens: &[(usize, Token)]) -> Vec<(usize, Vec<String>)> {
    let (mut out, mut i) = (Vec::new(), 0);
    while i < tokens.len() {
        if matches!(tokens[i].1, Token::Ident(_)) {
            i = path(tokens, i, &[], &mut out);
        } else {
            i += 1;
        }
    }
    out
}

/// Reads the path at `i` behind `prefix`; gives the index behind it.
fn path(
    tokens: &[(usize, Token)],
    mut i: usize,
    prefix: &[String],
    out: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[i].0;
    loop {
        match tokens.get(i).map(|t| &t.1) {
            Some(Token::Ident(name)) => segments.push(name.clone()),
            Some(Token::Other('{')) if segments.len() > prefix.len() || !prefix.is_empty() => {
                i += 1;
                while let Some((_, token)) = tokens.get(i) {
                    match token {
                        Token::Other('}') => return i + 1,
                        Token::Ident(_) | Token::Other('{') => {
                            i = path(tokens, i, &segments, out);
                        }
                        _ => i += 1,
                    }
                }
                return i;
            }
            _ => break,
        }
        i += 1;
        if tokens.get(i).map(|t| &t.1) != Some(&Token::Path) {
            break;
        }
        i += 1;
    }
    out.push((line, segments));
    i
}

/// The module path of a file under `src`: `mkv/writer/tests.rs` is `mkv::writer::tests`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|name| name == "mod") {
        module.pop();
    }
    module
}

/// Whether `path` is `prefix` or below it; `prefix` is spelt `a::b`.
fn below(path: &[String], prefix: &str) -> bool {
    let mut parts = path.iter();
    prefix.split("::").all(|part| parts.next().is_some_and(|p| p == part))
}

/// What `source`, standing at `file` under `src`, imports against the rule: `file:line: what`.
fn violations(file: &Path, source: &str) -> Vec<String> {
    let module = module_of(file);
    let Some(top) = module.first().cloned() else { return Vec::new() };
    let Some(rule) = rule(&top) else { return Vec::new() };
    let tops: Vec<&str> = rule.modules.iter().flat_map(|m| m.iter().copied()).collect();
    let mut found = Vec::new();
    let mut report = |line: usize, what: String| {
        found.push(format!("{}:{line}: {what}", file.display()));
    };
    for (line, path) in paths(&tokens(source)) {
        match path[0].as_str() {
            // A lone `crate` or `super` is a visibility.
            _ if path.len() == 1 => {}
            "crate" => {
                let inside = &path[1..];
                let own = inside.first() == Some(&top);
                if !own && !tops.iter().any(|prefix| below(inside, prefix)) {
                    report(line, format!("{top} must not import {}", path.join("::")));
                }
            }
            "super" => {
                let ups = path.iter().take_while(|p| *p == "super").count();
                // An inline `mod tests` may go up once more than the file's own depth.
                let inline = usize::from(source.contains("mod tests {"));
                if ups > module.len() - 1 + inline {
                    report(
                        line,
                        format!("{} leaves the folder: spell it crate::", path.join("::")),
                    );
                }
            }
            _ => {
                let forbidden =
                    rule.forbidden.iter().flat_map(|f| f.iter()).find(|f| below(&path, f));
                if let Some(forbidden) = forbidden {
                    report(line, format!("{top} must not name {forbidden}"));
                }
                let external = rule.only.is_empty()
                    || rule.only.contains(&path[0].as_str())
                    || !is_external(&path[0]);
                if !external {
                    report(line, format!("{top} must not name {}", path[0]));
                }
            }
        }
    }
    found
}

/// Whether `name` is a dependency of the package or a crate of the toolchain.
fn is_external(name: &str) -> bool {
    let manifest = include_str!("../Cargo.toml");
    ["std", "core", "alloc"].contains(&name)
        || manifest
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .any(|(key, _)| key.trim().replace('-', "_") == name)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_import_keeps_the_rule() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 20, "only {} source files found", files.len());
    files.sort();
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let source = fs::read_to_string(file).unwrap();
            violations(file.strip_prefix(&root).unwrap(), &source)
        })
        .collect();
    assert!(found.is_empty(), "the import rule is broken:\n{}", found.join("\n"));
}

#[test]
fn catches_each_kind_of_violation() {
    let cases = [
        ("ebml/rope.rs", "use crate::mkv::Reader;", "ebml must not import crate::mkv::Reader"),
        ("mkv/a.rs", "use crate::{ids::X, wire::{Y}};", "mkv must not import crate::wire::Y"),
        ("producer/mod.rs", "fn f() {\n crate::consumer::go() }", "producer/mod.rs:2: "),
        ("producer/a.rs", "use std::{fmt, time::{Duration, Instant}};", "std::time::Instant"),
        ("producer/a.rs", "fn f(b: &gst::Buffer) {}", "producer must not name gst"),
        ("consumer/a.rs", "use crate::producer::X;", "consumer must not import"),
        ("consumer/a.rs", "use super::super::io::X;", "leaves the folder"),
        ("io/a.rs", "use gst::prelude::*;", "io must not name gst"),
        ("server/a.rs", "use crate::io::service::X;", "server must not import"),
        ("kvssink/imp.rs", "use crate::kvssrc;", "kvssink must not import crate::kvssrc"),
        ("frame.rs", "use serde::Serialize;", "frame must not name serde"),
        ("unlisted.rs", "use crate::frame::Frame;", "unlisted must not import"),
    ];
    for (file, source, expect) in cases {
        let found = violations(Path::new(file), source);
        assert!(found.iter().any(|f| f.contains(expect)), "{file}: {source} gave {found:?}");
    }
}

#[test]
fn accepts_what_the_rule_allows() {
    let cases = [
        ("mkv/a.rs", "// use crate::wire::X;\n/* crate::io */ use crate::ebml::Id;"),
        ("wire/a.rs", "const X: &str = \"crate::io::X\"; const Y: &str = r#\"gst::x\"#;"),
        ("wire/a.rs", "fn f<'a>(x: &'a str) -> char { ':' }\nuse crate::mkv::SimpleTag;"),
        ("server/relay.rs", "use crate::{io::clock, time::Timestamp};"),
        ("retry.rs", "pub(crate) struct X; mod tests { use super::*; }"),
        ("mkv/writer/tests.rs", "use super::super::Reader; use crate::mkv::ids;"),
        ("io/service.rs", "use crate::{io::clock, wire::control}; use tokio::time;"),
        ("bin/kvs-server.rs", "use gstkvs::server::Server;"),
    ];
    for (file, source) in cases {
        assert_eq!(violations(Path::new(file), source), Vec::<String>::new(), "{file}: {source}");
    }
}
