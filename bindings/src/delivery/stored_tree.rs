//! A ratchet tree as OpenMLS' storage holds it, made from the encoded one.
//!
//! OpenMLS offers no constructor that leaves lifetimes alone, and a group must outlive the lifetimes of its leaves. So
//! this writes what `TreeSync` serializes to. Byte strings, which are most of a tree, are copied, for only the length
//! before them is written differently; OpenMLS' own types translate the rest.
use std::collections::HashMap;

use openmls::prelude::tls_codec::Deserialize;
use openmls::prelude::{Capabilities, CredentialType, Extensions, LeafNode, ParentNode};
use openmls::treesync::LeafNodeSource;
use serde::Serialize;

use crate::delivery::reader::Reader;
use crate::delivery::store::{encode_into, storage_refusal};
use crate::delivery::tree::{misplaced, skip_source, skip_vectors, Node};
use crate::error::{refuse, Code, Outcome};
use crate::openmls_error::decoding;

/// What the `TreeSync` of these nodes, in array order, and of this hash serializes to.
pub fn stored_tree(nodes: &[Node], tree_hash: &[u8]) -> Outcome<Vec<u8>> {
    if nodes.len().is_multiple_of(2) {
        return refuse(Code::TreeInvalid, "a tree that does not end with a leaf");
    }
    let width = nodes.len().div_ceil(2).next_power_of_two();
    let mut tree = StoredTree::default();
    tree.level(nodes.iter().step_by(2), width, StoredTree::leaf)?;
    tree.level(nodes.iter().skip(1).step_by(2), width - 1, StoredTree::parent)?;
    // What stands for a leaf and for a parent outside of the tree.
    tree.out.extend_from_slice(&[ABSENT, ABSENT]);
    tree.bytes(tree_hash)?;
    Ok(tree.out)
}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

#[derive(Default)]
struct StoredTree<'a> {
    out: Vec<u8>,
    /// Most members say the same of themselves, so that is translated once.
    capabilities: HashMap<&'a [u8], Vec<u8>>,
}

impl<'a> StoredTree<'a> {
    fn level<'n>(
        &mut self,
        nodes: impl ExactSizeIterator<Item = &'n Node<'a>>,
        width: usize,
        write: impl Fn(&mut Self, &Node<'a>) -> Outcome<()>,
    ) -> Outcome<()>
    where
        'a: 'n,
    {
        let blank = width - nodes.len();
        self.value(&width)?;
        for node in nodes {
            write(self, node)?;
        }
        self.out.resize(self.out.len() + blank, ABSENT);
        Ok(())
    }

    fn leaf(&mut self, node: &Node<'a>) -> Outcome<()> {
        match node {
            Node::Blank => self.absent(),
            Node::Leaf(encoded) => {
                self.out.push(PRESENT);
                self.leaf_node(&mut Reader::new(encoded))
            }
            Node::Parent(_) => misplaced(),
        }
    }

    fn leaf_node(&mut self, reader: &mut Reader<'a>) -> Outcome<()> {
        self.bytes(reader.vector()?)?; // encryption key
        self.bytes(reader.vector()?)?; // signature key
        self.value(&CredentialType::from(reader.u16()?))?;
        self.bytes(reader.vector()?)?; // credential
        self.capabilities(skipped(reader, |reader| skip_vectors(reader, 5))?)?;
        self.translated::<LeafNodeSource>(skipped(reader, skip_source)?)?;
        self.translated::<Extensions<LeafNode>>(skipped(reader, |reader| skip_vectors(reader, 1))?)?;
        self.bytes(reader.vector()?) // signature
    }

    fn parent(&mut self, node: &Node<'a>) -> Outcome<()> {
        match node {
            Node::Blank => self.absent(),
            Node::Parent(encoded) => {
                self.out.push(PRESENT);
                self.translated::<ParentNode>(encoded)
            }
            Node::Leaf(_) => misplaced(),
        }
    }

    fn absent(&mut self) -> Outcome<()> {
        self.out.push(ABSENT);
        Ok(())
    }

    fn capabilities(&mut self, encoded: &'a [u8]) -> Outcome<()> {
        if let Some(known) = self.capabilities.get(encoded) {
            self.out.extend_from_slice(known);
            return Ok(());
        }
        let start = self.out.len();
        self.translated::<Capabilities>(encoded)?;
        self.capabilities.insert(encoded, self.out[start..].to_vec());
        Ok(())
    }

    fn translated<T: Deserialize + Serialize>(&mut self, encoded: &[u8]) -> Outcome<()> {
        let value = T::tls_deserialize_exact(encoded).map_err(decoding("ratchet tree"))?;
        self.value(&value)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.value(&bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn value<T: Serialize>(&mut self, value: &T) -> Outcome<()> {
        encode_into(&mut self.out, value).map_err(storage_refusal)
    }
}

fn skipped<'a>(reader: &mut Reader<'a>, skip: impl FnOnce(&mut Reader<'a>) -> Outcome<()>) -> Outcome<&'a [u8]> {
    let start = reader.clone();
    skip(reader)?;
    Ok(reader.since(&start))
}
