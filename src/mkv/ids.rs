// SPDX-License-Identifier: MIT OR Apache-2.0
//! Element IDs (RFC 8794 11.2, RFC 9559 5.1).
#![allow(missing_docs, reason = "each name is the element's name in the RFC")]

use crate::ebml::Id;

pub const EBML: Id = 0x1A45_DFA3;
pub const EBML_VERSION: Id = 0x4286;
pub const EBML_READ_VERSION: Id = 0x42F7;
pub const EBML_MAX_ID_LENGTH: Id = 0x42F2;
pub const EBML_MAX_SIZE_LENGTH: Id = 0x42F3;
pub const DOC_TYPE: Id = 0x4282;
pub const DOC_TYPE_VERSION: Id = 0x4287;
pub const DOC_TYPE_READ_VERSION: Id = 0x4285;
pub const VOID: Id = 0xEC;
pub const CRC_32: Id = 0xBF;

pub const SEGMENT: Id = 0x1853_8067;
pub const SEEK_HEAD: Id = 0x114D_9B74;
pub const INFO: Id = 0x1549_A966;
pub const TRACKS: Id = 0x1654_AE6B;
pub const CLUSTER: Id = 0x1F43_B675;
pub const CUES: Id = 0x1C53_BB6B;
pub const ATTACHMENTS: Id = 0x1941_A469;
pub const CHAPTERS: Id = 0x1043_A770;
pub const TAGS: Id = 0x1254_C367;

pub const TIMESTAMP_SCALE: Id = 0x2A_D7B1;
pub const SEGMENT_UUID: Id = 0x73A4;
pub const TITLE: Id = 0x7BA9;
pub const MUXING_APP: Id = 0x4D80;
pub const WRITING_APP: Id = 0x5741;

pub const TRACK_ENTRY: Id = 0xAE;
pub const TRACK_NUMBER: Id = 0xD7;
pub const TRACK_UID: Id = 0x73C5;
pub const TRACK_TYPE: Id = 0x83;
pub const FLAG_LACING: Id = 0x9C;
pub const DEFAULT_DURATION: Id = 0x23_E383;
pub const TRACK_NAME: Id = 0x536E;
pub const CODEC_ID: Id = 0x86;
pub const CODEC_PRIVATE: Id = 0x63A2;
pub const VIDEO: Id = 0xE0;
pub const PIXEL_WIDTH: Id = 0xB0;
pub const PIXEL_HEIGHT: Id = 0xBA;
pub const AUDIO: Id = 0xE1;
pub const SAMPLING_FREQUENCY: Id = 0xB5;
pub const CHANNELS: Id = 0x9F;
pub const BIT_DEPTH: Id = 0x6264;
pub const CONTENT_ENCODINGS: Id = 0x6D80;

pub const TIMESTAMP: Id = 0xE7;
pub const SILENT_TRACKS: Id = 0x5854;
pub const POSITION: Id = 0xA7;
pub const PREV_SIZE: Id = 0xAB;
pub const SIMPLE_BLOCK: Id = 0xA3;
pub const BLOCK_GROUP: Id = 0xA0;
pub const BLOCK: Id = 0xA1;
pub const BLOCK_DURATION: Id = 0x9B;
pub const REFERENCE_BLOCK: Id = 0xFB;

pub const TAG: Id = 0x7373;
pub const SIMPLE_TAG: Id = 0x67C8;
pub const TAG_NAME: Id = 0x45A3;
pub const TAG_STRING: Id = 0x4487;
