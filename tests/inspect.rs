// SPDX-License-Identifier: MIT OR Apache-2.0
//! The public face of each element, against a golden text: no property, pad or default changes
//! unnoticed. `UPDATE_GOLDEN=1 cargo test --test inspect` writes the texts anew.

use std::{env, fmt::Write, fs, path::Path};

use gst::{glib, prelude::*};

fn describe(factory: &str) -> String {
    gst::init().unwrap();
    gstkvs::plugin_register_static().unwrap();
    let factory = gst::ElementFactory::find(factory).expect("the element is registered");
    let element = factory.create().build().unwrap();
    let mut text = format!(
        "{} ({})\n{}\n{}\nrank {:?}\n\npads\n",
        factory.name(),
        element.type_().name(),
        factory.metadata("long-name").unwrap(),
        factory.metadata("klass").unwrap(),
        factory.rank(),
    );
    let mut templates: Vec<_> = element.pad_template_list().into_iter().collect();
    templates.sort_by_key(|template| template.name_template().to_owned());
    for template in templates {
        let (name, direction) = (template.name_template(), template.direction());
        writeln!(text, "  {name} {direction:?} {:?}", template.presence()).unwrap();
        for caps in template.caps().iter() {
            writeln!(text, "    {caps}").unwrap();
        }
    }
    text.push_str("\nproperties\n");
    let mut properties: Vec<_> = element.list_properties().into_iter().collect();
    properties.retain(|spec| spec.owner_type() == element.type_());
    properties.sort_by_key(|spec| spec.name().to_owned());
    for spec in properties {
        writeln!(text, "  {}: {}", spec.name(), range(&spec)).unwrap();
        writeln!(text, "    {}", access(&spec)).unwrap();
        writeln!(text, "    {}", spec.blurb().unwrap_or_default()).unwrap();
    }
    text
}

fn range(spec: &glib::ParamSpec) -> String {
    let default = spec.default_value();
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        format!("uint {} to {}, default {}", spec.minimum(), spec.maximum(), spec.default_value())
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        format!("uint64 {} to {}, default {}", spec.minimum(), spec.maximum(), spec.default_value())
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecEnum>() {
        let class = spec.enum_class();
        let nicks: Vec<_> = class.values().iter().map(glib::EnumValue::nick).collect();
        let default = class.value(spec.default_value_as_i32()).unwrap();
        format!("{} {{{}}}, default {}", class.type_(), nicks.join(", "), default.nick())
    } else if spec.is::<glib::ParamSpecString>() {
        format!("string, default {:?}", default.get::<Option<String>>().unwrap())
    } else if spec.is::<glib::ParamSpecBoolean>() {
        format!("bool, default {}", default.get::<bool>().unwrap())
    } else {
        spec.value_type().to_string()
    }
}

fn access(spec: &glib::ParamSpec) -> &'static str {
    let flags = spec.flags();
    let has = |bit: u32| flags.bits() & bit != 0;
    if !flags.contains(glib::ParamFlags::WRITABLE) {
        "read-only"
    } else if has(gst::PARAM_FLAG_MUTABLE_PLAYING.bits()) {
        "settable at any time"
    } else if has(gst::PARAM_FLAG_MUTABLE_READY.bits()) {
        "settable in NULL and READY"
    } else {
        "settable, nobody says when"
    }
}

fn check(factory: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{factory}.txt"));
    let found = describe(factory);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} differs; what the element says now:\n{found}", path.display());
}

#[test]
fn kvssink_is_as_documented() {
    check("kvssink");
}

#[test]
fn kvssrc_is_as_documented() {
    check("kvssrc");
}
