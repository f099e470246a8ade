// SPDX-License-Identifier: MIT OR Apache-2.0
//! The property tables of README.md are what the elements say of themselves. When an element
//! changed, `KVS_BLESS=1 cargo test --test readme` writes the tables anew.

use std::fs;

use gst::{glib, prelude::*};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// The default as a launch line would spell it.
fn default_of(spec: &glib::ParamSpec) -> String {
    let value = spec.default_value();
    if let Some((_, choice)) = glib::EnumValue::from_value(value) {
        return choice.nick().to_owned();
    }
    if let Ok(text) = value.get::<Option<String>>() {
        return text.unwrap_or_default();
    }
    if value.type_() == gst::Structure::static_type() {
        return String::new();
    }
    value.transform::<String>().unwrap().get().unwrap()
}

/// The type, and what it accepts.
fn type_of(spec: &glib::ParamSpec) -> String {
    fn range(name: &str, (low, high): (u64, u64)) -> String {
        match high {
            high if high == u64::MAX || high == u64::from(u32::MAX) => {
                format!("{name}, from {low}")
            }
            high => format!("{name}, {low} to {high}"),
        }
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        range("uint", (spec.minimum().into(), spec.maximum().into()))
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        range("uint64", (spec.minimum(), spec.maximum()))
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecEnum>() {
        let nicks: Vec<&str> = spec.enum_class().values().iter().map(|v| v.nick()).collect();
        nicks.join(", ")
    } else {
        match spec.value_type() {
            glib::Type::STRING => "string".to_owned(),
            glib::Type::BOOL => "boolean".to_owned(),
            other => other.name().to_owned(),
        }
    }
}

fn settable(spec: &glib::ParamSpec) -> &'static str {
    let flags = spec.flags();
    if !flags.contains(glib::ParamFlags::WRITABLE) {
        "read-only"
    } else if flags.contains(gst::PARAM_FLAG_MUTABLE_READY) {
        "NULL, READY"
    } else {
        "always"
    }
}

/// The table of an element's own properties, in the order of their names.
fn table(element: &str) -> String {
    let element = gst::ElementFactory::make(element).build().unwrap();
    let mut specs: Vec<_> = element
        .list_properties()
        .into_iter()
        .filter(|s| s.owner_type() == element.type_())
        .collect();
    specs.sort_by(|a, b| a.name().cmp(b.name()));
    let mut text = String::from(
        "| property | type | default | settable | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for spec in specs {
        let (name, kind, default) = (spec.name(), type_of(&spec), default_of(&spec));
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let (when, blurb) = (settable(&spec), spec.blurb().unwrap_or_default().replace('|', "or"));
        text += &format!("| `{name}` | {kind} | {default} | {when} | {blurb} |\n");
    }
    text
}

/// README.md with the table of `element` between its two markers.
fn with_table(readme: &str, element: &str) -> String {
    let (begin, end) = (format!("<!-- {element} -->\n"), format!("<!-- end of {element} -->"));
    let (before, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}{}{end}{after}", table(element))
}

#[test]
fn property_tables_say_what_the_elements_say() {
    gst::init().unwrap();
    gstkvs::plugin_register_static().unwrap();
    let readme = fs::read_to_string(README).unwrap();
    let expect = with_table(&with_table(&readme, "kvssink"), "kvssrc");
    if std::env::var_os("KVS_BLESS").is_some() {
        fs::write(README, &expect).unwrap();
        return;
    }
    for (line, (is, should)) in readme.lines().zip(expect.lines()).enumerate() {
        assert_eq!(is, should, "README.md:{}: run KVS_BLESS=1 cargo test --test readme", line + 1);
    }
    assert_eq!(readme.lines().count(), expect.lines().count(), "README.md: rows are missing");
}
