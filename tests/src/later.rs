//! Makes requests as a later version of the protocol would send them: with fields that this version
//! does not know, at every level, and with unknown values of enumerations. They are derived from
//! the protocol's own descriptors, so that no request is forgotten.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};
use dac_proto::FILE_DESCRIPTOR_SET;
use futures::stream;
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::failure::{Context, Result};

/// The number of the first field that only a later version knows.
const LATER_FIELD: u32 = 15_000;
/// A value of an enumeration that only a later version knows.
pub const LATER_VALUE: u64 = 99;

/// A method of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Method {
    /// The name of its service without the package.
    pub service: String,
    /// The name of the method.
    pub name: String,
    input: String,
}

/// The descriptors of the protocol.
#[derive(Debug)]
pub struct Protocol {
    messages: BTreeMap<String, DescriptorProto>,
    methods: Vec<Method>,
}

/// A field of a request whose type is an enumeration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumField {
    /// The field's name.
    pub name: String,
    /// The number of such fields before it in the message's bytes.
    place: usize,
}

impl Protocol {
    /// Reads the descriptors of this version.
    pub fn read() -> Result<Self> {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET)?;
        let (mut messages, mut methods) = (BTreeMap::new(), Vec::new());
        for file in files.file {
            let package = file.package().to_owned();
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| Method {
                    service: service.name().to_owned(),
                    name: method.name().to_owned(),
                    input: method.input_type().to_owned(),
                }));
            }
            for message in file.message_type {
                messages.insert(format!(".{package}.{}", message.name()), message);
            }
        }
        Ok(Self { messages, methods })
    }

    /// Returns all methods.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Adds unknown fields of every wire type to each message of a method's request.
    pub fn with_later_fields(&self, method: &Method, request: &[u8]) -> Result<Bytes> {
        let mut visit = Visit { adds_fields: true, ..Visit::default() };
        self.rewrite(&method.input, request, &mut visit)
    }

    /// Returns the enumeration fields that a method's request holds. Fields with the first value
    /// are not encoded, and therefore missing.
    pub fn enums(&self, method: &Method, request: &[u8]) -> Result<Vec<EnumField>> {
        let mut visit = Visit::default();
        self.rewrite(&method.input, request, &mut visit)?;
        let names = visit.enums.into_iter().enumerate();
        Ok(names.map(|(place, name)| EnumField { name, place }).collect())
    }

    /// Replaces the value of one enumeration field by one that this version does not know.
    pub fn with_later_value(&self, method: &Method, request: &[u8], of: &EnumField) -> Result<Bytes> {
        let mut visit = Visit { replaces: Some(of.place), ..Visit::default() };
        self.rewrite(&method.input, request, &mut visit)
    }

    /// Returns the names of all enumeration fields that a method's request can hold.
    pub fn enum_fields(&self, method: &Method) -> Vec<String> {
        let (mut found, mut waiting) = (Vec::new(), vec![method.input.clone()]);
        while let Some(name) = waiting.pop() {
            for field in &self.messages[&name].field {
                match field.r#type() {
                    Type::Enum => found.push(field.name().to_owned()),
                    Type::Message => waiting.push(field.type_name().to_owned()),
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }

    fn rewrite(&self, name: &str, mut message: &[u8], visit: &mut Visit) -> Result<Bytes> {
        let descriptor = self.messages.get(name).context(name)?;
        let mut out = Vec::with_capacity(message.len() + 64);
        while message.has_remaining() {
            let (tag, form) = decode_key(&mut message)?;
            let field = descriptor.field.iter().find(|field| field.number().unsigned_abs() == tag);
            let field = field.context(format!("{name}: field {tag}"))?;
            encode_key(tag, form, &mut out);
            match form {
                WireType::Varint => {
                    let mut value = decode_varint(&mut message)?;
                    if field.r#type() == Type::Enum {
                        if visit.replaces == Some(visit.enums.len()) {
                            value = LATER_VALUE;
                        }
                        visit.enums.push(field.name().to_owned());
                    }
                    encode_varint(value, &mut out);
                }
                WireType::LengthDelimited => {
                    let length = usize::try_from(decode_varint(&mut message)?)?;
                    let (inner, rest) = message.split_at_checked(length).context(format!("{name}: {tag}"))?;
                    message = rest;
                    let inner = match field.r#type() {
                        Type::Message => self.rewrite(field.type_name(), inner, visit)?,
                        _ => Bytes::copy_from_slice(inner),
                    };
                    encode_varint(inner.len() as u64, &mut out);
                    out.put(inner);
                }
                _ => return Err(crate::Failure::new(format!("{name}: field {tag} has the form {form:?}"))),
            }
        }
        if visit.adds_fields {
            encode_key(LATER_FIELD, WireType::Varint, &mut out);
            encode_varint(u64::MAX, &mut out);
            encode_key(LATER_FIELD + 1, WireType::SixtyFourBit, &mut out);
            out.put_u64_le(1);
            encode_key(LATER_FIELD + 2, WireType::ThirtyTwoBit, &mut out);
            out.put_u32_le(1);
            encode_key(LATER_FIELD + 3, WireType::LengthDelimited, &mut out);
            encode_varint(5, &mut out);
            out.put_slice(b"later");
        }
        Ok(out.into())
    }
}

/// What a walk through a message's bytes changes and finds.
#[derive(Default)]
struct Visit {
    /// Whether unknown fields are added to each message.
    adds_fields: bool,
    /// The number of the enumeration field whose value is replaced.
    replaces: Option<usize>,
    /// The names of the enumeration fields that were found so far.
    enums: Vec<String>,
}

/// Calls a method with encoded messages, and returns the encoded answers.
pub async fn call(channel: Channel, method: &Method, requests: Vec<Bytes>) -> Result<Vec<Bytes>, Status> {
    let path = PathAndQuery::try_from(format!("/dac.v1.{}/{}", method.service, method.name));
    let path = path.map_err(|error| Status::internal(error.to_string()))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let answers = client.streaming(Request::new(stream::iter(requests)), path, Raw).await?;
    let mut answers = answers.into_inner();
    let mut all = Vec::new();
    while let Some(answer) = answers.message().await? {
        all.push(answer);
    }
    Ok(all)
}

/// A codec that leaves messages as bytes.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
