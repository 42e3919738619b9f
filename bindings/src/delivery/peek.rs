use pyo3::prelude::*;

use crate::delivery::group_info::Fields;
use crate::delivery::reader::{version, Reader};
use crate::delivery::welcome;
use crate::error::{refuse, Code, Outcome};
use crate::guard::guarded;

/// The outside of an MLSMessage (RFC 9420 section 6), nothing verified.
#[pyclass(frozen, get_all, module = "openmls.delivery")]
#[derive(Default)]
pub struct MessageInfo {
    wire_format: &'static str,
    group_id: Option<Vec<u8>>,
    epoch: Option<u64>,
    content_type: Option<&'static str>,
    sender_type: Option<&'static str>,
    sender_index: Option<u32>,
    authenticated_data: Option<Vec<u8>>,
    ciphersuite: Option<u16>,
}

/// Read the outside of an MLSMessage; no signature is checked and no suite needs to be known.
#[pyfunction]
pub fn peek(py: Python<'_>, message: &[u8]) -> PyResult<MessageInfo> {
    guarded(py, || outside(message))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WireFormat {
    PublicMessage,
    PrivateMessage,
    Welcome,
    GroupInfo,
    KeyPackage,
}

pub fn wire_format(reader: &mut Reader) -> Outcome<WireFormat> {
    version(reader)?;
    Ok(match reader.u16()? {
        1 => WireFormat::PublicMessage,
        2 => WireFormat::PrivateMessage,
        3 => WireFormat::Welcome,
        4 => WireFormat::GroupInfo,
        5 => WireFormat::KeyPackage,
        other => return refuse(Code::Malformed, format!("wire format {other}")),
    })
}

fn outside(message: &[u8]) -> Outcome<MessageInfo> {
    let mut reader = Reader::new(message);
    match wire_format(&mut reader)? {
        WireFormat::PublicMessage => public_message(reader),
        WireFormat::PrivateMessage => private_message(reader),
        WireFormat::Welcome => welcome_message(reader),
        WireFormat::GroupInfo => group_info_message(reader),
        WireFormat::KeyPackage => key_package_message(reader),
    }
}

fn content_type(reader: &mut Reader) -> Outcome<&'static str> {
    Ok(match reader.u8()? {
        1 => "application",
        2 => "proposal",
        3 => "commit",
        other => return refuse(Code::Malformed, format!("content type {other}")),
    })
}

fn sender(reader: &mut Reader) -> Outcome<(&'static str, Option<u32>)> {
    Ok(match reader.u8()? {
        1 => ("member", Some(reader.u32()?)),
        2 => ("external", Some(reader.u32()?)),
        3 => ("new_member_proposal", None),
        4 => ("new_member_commit", None),
        other => return refuse(Code::Malformed, format!("sender type {other}")),
    })
}

fn public_message(mut reader: Reader) -> Outcome<MessageInfo> {
    let group_id = reader.vector()?.to_vec();
    let epoch = reader.u64()?;
    let (sender_type, sender_index) = sender(&mut reader)?;
    let authenticated_data = reader.vector()?.to_vec();
    Ok(MessageInfo {
        wire_format: "public_message",
        group_id: Some(group_id),
        epoch: Some(epoch),
        content_type: Some(content_type(&mut reader)?),
        sender_type: Some(sender_type),
        sender_index,
        authenticated_data: Some(authenticated_data),
        ..Default::default()
    })
}

fn private_message(mut reader: Reader) -> Outcome<MessageInfo> {
    let info = MessageInfo {
        wire_format: "private_message",
        group_id: Some(reader.vector()?.to_vec()),
        epoch: Some(reader.u64()?),
        content_type: Some(content_type(&mut reader)?),
        authenticated_data: Some(reader.vector()?.to_vec()),
        ..Default::default()
    };
    reader.vector()?; // encrypted sender data
    reader.vector()?; // ciphertext
    reader.end()?;
    Ok(info)
}

fn welcome_message(mut reader: Reader) -> Outcome<MessageInfo> {
    let (ciphersuite, _) = welcome::recipients(&mut reader)?;
    Ok(MessageInfo {
        wire_format: "welcome",
        ciphersuite: Some(ciphersuite),
        ..Default::default()
    })
}

fn group_info_message(mut reader: Reader) -> Outcome<MessageInfo> {
    let fields = Fields::read(&mut reader)?;
    Ok(MessageInfo {
        wire_format: "group_info",
        group_id: Some(fields.group_id.to_vec()),
        epoch: Some(fields.epoch),
        ciphersuite: Some(fields.ciphersuite),
        ..Default::default()
    })
}

fn key_package_message(mut reader: Reader) -> Outcome<MessageInfo> {
    version(&mut reader)?;
    Ok(MessageInfo {
        wire_format: "key_package",
        ciphersuite: Some(reader.u16()?),
        ..Default::default()
    })
}
