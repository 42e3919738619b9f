//! The encoded ratchet tree (RFC 9420 section 12.4.3.3): what can be said of it before OpenMLS builds it; its writing.
use openmls::prelude::{HashType, OpenMlsCrypto};
use openmls::treesync::TreeSync;

use crate::delivery::limits::Limits;
use crate::delivery::reader::{write_vector, Reader};
use crate::error::{refuse, Code, Outcome};
use crate::openmls_error::{encoding, library};
use crate::suite::crypto;

const LEAF: u8 = 1;
const PARENT: u8 = 2;

pub enum Node<'a> {
    Blank,
    /// The LeafNode, encoded.
    Leaf(&'a [u8]),
    /// The ParentNode, encoded.
    Parent(&'a [u8]),
}

/// Refuses a tree that would be large in memory, for the price of reading it once.
///
/// The bound is absolute: a group that shrank keeps a wide tree as long as its rightmost member stays.
pub fn require_size(tree: &[u8], limits: &Limits) -> Outcome<()> {
    walk_counting(tree, limits, |_| {})
}

/// The nodes of a tree that is not too large, in array order.
pub fn nodes<'a>(tree: &'a [u8], limits: &Limits) -> Outcome<Vec<Node<'a>>> {
    let mut nodes = Vec::new();
    walk_counting(tree, limits, |node| nodes.push(node))?;
    Ok(nodes)
}

fn walk_counting<'a>(tree: &'a [u8], limits: &Limits, mut visit: impl FnMut(Node<'a>)) -> Outcome<()> {
    if tree.len() > limits.max_tree_bytes {
        return refuse(Code::TreeSize, format!("a tree of {} bytes", tree.len()));
    }
    let most = limits.max_tree_nodes();
    let (mut nodes, mut leaves) = (0, 0);
    walk(tree, |node| {
        nodes += 1;
        leaves += usize::from(matches!(node, Node::Leaf(_)));
        if nodes > most {
            return refuse(Code::TreeNodes, format!("more than {most} nodes"));
        }
        visit(node);
        Ok(())
    })?;
    if leaves > limits.max_members {
        return refuse(Code::Members, format!("{leaves} members"));
    }
    Ok(())
}

fn walk<'a>(tree: &'a [u8], mut visit: impl FnMut(Node<'a>) -> Outcome<()>) -> Outcome<()> {
    let mut outer = Reader::new(tree);
    let mut reader = Reader::new(outer.vector()?);
    outer.end()?;
    while !reader.is_empty() {
        visit(node(&mut reader)?)?;
    }
    Ok(())
}

fn node<'a>(reader: &mut Reader<'a>) -> Outcome<Node<'a>> {
    match reader.u8()? {
        0 => return Ok(Node::Blank),
        1 => {}
        _ => return refuse(Code::Malformed, "an optional node"),
    }
    let kind = reader.u8()?;
    let start = reader.clone();
    match kind {
        LEAF => skip_leaf(reader).map(|()| Node::Leaf(reader.since(&start))),
        PARENT => skip_vectors(reader, 3).map(|()| Node::Parent(reader.since(&start))),
        _ => refuse(Code::Malformed, "a node type"),
    }
}

pub fn skip_vectors(reader: &mut Reader, count: usize) -> Outcome<()> {
    (0..count).try_for_each(|_| reader.vector().map(|_| ()))
}

fn skip_leaf(reader: &mut Reader) -> Outcome<()> {
    skip_vectors(reader, 2)?; // encryption key, signature key
    reader.u16()?; // credential type
    skip_vectors(reader, 1 + 5)?; // credential, capabilities
    skip_source(reader)?;
    skip_vectors(reader, 2) // extensions, signature
}

pub fn skip_source(reader: &mut Reader) -> Outcome<()> {
    match reader.u8()? {
        1 => reader.take(16).map(|_| ()), // key package: lifetime
        2 => Ok(()),                      // update
        3 => skip_vectors(reader, 1),     // commit: parent hash
        _ => refuse(Code::Malformed, "a leaf node source"),
    }
}

/// The tree as RFC 9420 encodes it. OpenMLS' own export copies every node first.
pub fn encode(tree: &TreeSync) -> Outcome<Vec<u8>> {
    let leaves = tree.leaves();
    let width = leaves.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let mut parents = tree.full_parents().peekable();
    let mut nodes = Vec::new();
    for (place, leaf) in leaves[..width].iter().enumerate() {
        if place > 0 {
            // The parent between two leaves has the index of the left one.
            let parent = parents.next_if(|(index, _)| index.u32() as usize == place - 1);
            write_node(&mut nodes, PARENT, parent.map(|(_, node)| node))?;
        }
        write_node(&mut nodes, LEAF, *leaf)?;
    }
    let mut encoded = Vec::with_capacity(nodes.len() + 4);
    write_vector(&mut encoded, &nodes);
    Ok(encoded)
}

fn write_node(out: &mut Vec<u8>, kind: u8, node: Option<&impl tls_codec::Serialize>) -> Outcome<()> {
    let Some(node) = node else {
        out.push(0);
        return Ok(());
    };
    out.extend_from_slice(&[1, kind]);
    node.tls_serialize(out).map_err(encoding)?;
    Ok(())
}

/// The tree hash (RFC 9420 section 7.8) of nodes in array order.
pub fn hash(nodes: &[Node], algorithm: HashType) -> Outcome<Vec<u8>> {
    let width = nodes.len().div_ceil(2).next_power_of_two();
    let blank = |index: usize| nodes.get(index).unwrap_or(&Node::Blank);
    let mut hashes = Vec::with_capacity(width);
    for leaf in 0..width {
        hashes.push(leaf_hash(leaf as u32, blank(2 * leaf), algorithm)?);
    }
    let mut step = 1;
    while hashes.len() > 1 {
        let parent = |place: usize| blank(step * (2 * place + 1) * 2 - 1);
        let pairs = hashes.chunks_exact(2).enumerate();
        hashes = pairs
            .map(|(place, pair)| parent_hash(parent(place), &pair[0], &pair[1], algorithm))
            .collect::<Outcome<_>>()?;
        step *= 2;
    }
    Ok(hashes.pop().unwrap_or_default())
}

fn leaf_hash(index: u32, node: &Node, algorithm: HashType) -> Outcome<Vec<u8>> {
    let mut input = vec![1];
    input.extend_from_slice(&index.to_be_bytes());
    match node {
        Node::Blank => input.push(0),
        Node::Leaf(encoded) => present(&mut input, encoded),
        Node::Parent(_) => return misplaced(),
    }
    crypto().hash(algorithm, &input).map_err(library)
}

fn parent_hash(node: &Node, left: &[u8], right: &[u8], algorithm: HashType) -> Outcome<Vec<u8>> {
    let mut input = vec![2];
    match node {
        Node::Blank => input.push(0),
        Node::Parent(encoded) => present(&mut input, encoded),
        Node::Leaf(_) => return misplaced(),
    }
    write_vector(&mut input, left);
    write_vector(&mut input, right);
    crypto().hash(algorithm, &input).map_err(library)
}

fn present(input: &mut Vec<u8>, encoded: &[u8]) {
    input.push(1);
    input.extend_from_slice(encoded);
}

pub fn misplaced<T>() -> Outcome<T> {
    refuse(
        Code::TreeInvalid,
        "a leaf where a parent belongs, or a parent where a leaf belongs",
    )
}
