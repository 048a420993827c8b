//! The rows by which a scan's chains came: told only when somebody asks for them.

/// One step of a chain; chains share the steps that they have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    row: usize,
    /// The node of the step before; of no meaning for step 1.
    before: usize,
}

/// Where a scan leaves the rows that led on.
pub(super) trait Trail {
    /// Notes that `row` went on from the chain that ends at the node `before`, and names the new node.
    fn go_on(&mut self, before: usize, row: usize) -> usize;
}

/// Nobody asks.
pub(super) struct Untold;

impl Trail for Untold {
    fn go_on(&mut self, _before: usize, _row: usize) -> usize {
        0
    }
}

impl Trail for Vec<Node> {
    fn go_on(&mut self, before: usize, row: usize) -> usize {
        self.push(Node { row, before });
        self.len() - 1
    }
}

/// The rows of the chain of so many steps that ends at a node.
pub(super) fn rows(nodes: &[Node], mut node: usize, steps: usize, chain: &mut Vec<usize>) {
    chain.clear();
    for _ in 0..steps {
        chain.push(nodes[node].row);
        node = nodes[node].before;
    }
    chain.reverse();
}
