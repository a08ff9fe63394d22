//! Descriptions of a port's services, for clients that do not know them.

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic_reflection::server::Builder;
use tonic_reflection::server::{v1, v1alpha};

use super::SMALL_REQUEST_MAX_BYTES;
use super::port::Port;

/// The files that describe the port's services, and all types, without the services of other ports.
fn described(port: &Port, descriptor_sets: &[&[u8]]) -> Vec<FileDescriptorSet> {
    let own = |package: &str, service: &str| {
        port.services().iter().any(|name| name.strip_prefix(package) == Some(&format!(".{service}")))
    };
    let decoded = descriptor_sets.iter().map(|set| {
        let mut set = FileDescriptorSet::decode(*set).expect("descriptor sets made at build time decode");
        for file in &mut set.file {
            let package = file.package().to_owned();
            file.service.retain(|service| own(&package, service.name()));
        }
        set
    });
    decoded.collect()
}

fn builder(port: &Port, descriptor_sets: &[&[u8]]) -> Builder<'static> {
    described(port, descriptor_sets)
        .into_iter()
        .fold(Builder::configure(), Builder::register_file_descriptor_set)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// A reflection service that describes a port's services from their encoded descriptor sets.
///
/// # Panics
/// Panics if a descriptor set does not decode: they are constants of the program.
pub fn reflection(
    port: &Port,
    descriptor_sets: &[&[u8]],
) -> v1::ServerReflectionServer<impl v1::ServerReflection> {
    builder(port, descriptor_sets)
        .build_v1()
        .expect("descriptor sets made at build time decode")
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}

/// The same for clients that know only the older name of reflection, as those in Python do.
///
/// # Panics
/// As [`reflection`].
pub fn reflection_alpha(
    port: &Port,
    descriptor_sets: &[&[u8]],
) -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    builder(port, descriptor_sets)
        .build_v1alpha()
        .expect("descriptor sets made at build time decode")
        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES)
}
