//! The operator table.

use crate::record::{Recorder, size32};
use crate::view::View;
use inferena_worker::{Binary, Compare, Dtype, MEAN, Node, Op, Result, Unary, failed, unsupported};
use meganeura::graph;

const NONE: &str = "Meganeura has no such operator";

pub const OPERATORS: &str = r#"{
    "abs": {}, "detach": {}, "exp": {}, "gelu": {}, "log": {}, "neg": {}, "logical_not": {}, "relu": {}, "sigmoid": {},
    "silu": {}, "tanh": {}, "add": {}, "mul": {}, "div": {}, "logical_and": {},
    "eq": {}, "ne": {}, "lt": {}, "gt": {}, "where": {}, "to": {}, "full": {},
    "mean": {}, "sum": {}, "softmax": {"dim": ["last"]}, "log_softmax": {"dim": ["last"]},
    "reshape": {}, "expand": {}, "permute": {}, "slice": {}, "cat": {}, "embedding": {},
    "matmul": {}, "linear": {}, "upsample_nearest2d": {},
    "max_pool2d": {"stride": ["equal"], "padding": ["equal"], "dilation": [1], "ceil_mode": [false]},
    "conv1d": {"dilation": [1], "groups": [1]}, "conv2d": {"stride": ["equal"], "dilation": [1], "groups": [1]},
    "batch_norm": {}, "group_norm": {}, "layer_norm": {}, "rms_norm": {"weight": ["tensor"]}, "rotary_embedding": {},
    "scaled_dot_product_attention": {"attn_mask": [null], "rank": [4]},
    "cross_entropy_loss": {"weight": [null], "label_smoothing": [0.0], "reduction": [1, 2], "rank": [2]}
}"#;

impl Recorder<'_> {
    /// Record one operator; `x` is what [`Recorder::operands`] names.
    pub fn apply(&mut self, node: &Node, x: &[View]) -> Result<View> {
        let shape = &node.out.shape[..];
        let made = match &node.op {
            Op::Unary(Unary::Neg) => return Ok(x[0].clone().times(-1.0)),
            Op::Scalar(Binary::Mul, number) => return Ok(x[0].clone().times(*number)),
            Op::Scalar(Binary::Div, number) => return Ok(x[0].clone().times(1.0 / number)),
            Op::Reshape if x[0].is_whole(self.size(x[0].node)) => {
                return Ok(View::new(x[0].node, shape).times(x[0].factor));
            }
            Op::Reshape => self.flat(&x[0]),
            Op::Expand => return Ok(x[0].expand(shape)),
            Op::Permute { dims } => return Ok(x[0].permute(dims)),
            Op::Slice { dim, start, end, step } => return Ok(x[0].slice(*dim, *start, *end, *step)),
            Op::To if node.dtype()? == Dtype::Bool => {
                let zero = self.scalar(0.0)?;
                self.compare(Compare::Ne, &x[0], &zero, shape)
            }
            Op::To => return Ok(x[0].clone()), // everything is float32
            Op::Full(number) => {
                let one = self.filled(*number, &[1]);
                return Ok(View::new(one, &[]).expand(shape));
            }
            Op::Unary(kind) => self.unary(*kind, &x[0])?,
            Op::Binary(kind) => self.binary(*kind, &x[0], &x[1], shape)?,
            Op::Scalar(kind, number) => {
                let number = self.scalar(*number)?;
                self.binary(*kind, &x[0], &number, shape)?
            }
            Op::ScalarFirst(kind, number) => {
                let number = self.scalar(*number)?;
                self.binary(*kind, &number, &x[0], shape)?
            }
            Op::Compare(kind) => self.compare(*kind, &x[0], &x[1], shape),
            Op::CompareScalar(kind, number) => {
                let number = self.scalar(*number)?;
                self.compare(*kind, &x[0], &number, shape)
            }
            Op::Where { then, otherwise } => self.choose(x, *then, *otherwise, shape)?,
            Op::Cat { dim } => self.cat(x, *dim),
            Op::Reduce { kind, dims, .. } => self.reduce(&x[0], *kind, dims)?,
            Op::Softmax { .. } => {
                let rows = self.matrix(&x[0]);
                self.graph.softmax(rows)
            }
            Op::LogSoftmax { .. } => {
                let rows = self.matrix(&x[0]);
                self.graph.log_softmax(rows)
            }
            Op::Embedding => {
                let rows = self.integers(&node.inputs[1])?;
                let rows = rows.iter().map(|row| Ok(u32::try_from(*row)?)).collect::<Result<_>>()?;
                let (rows, table) = (self.numbers(rows), self.matrix(&x[0]));
                self.graph.embedding(rows, table)
            }
            Op::Matmul if x[0].shape.len() < 2 || x[1].shape.len() != 2 => {
                return unsupported("Meganeura multiplies by a matrix, not by batches of them");
            }
            Op::Matmul => {
                let (left, right) = (self.matrix(&x[0]), self.matrix(&x[1]));
                self.graph.matmul(left, right)
            }
            Op::Linear => {
                let (rows, weight) = (self.matrix(&x[0]), self.matrix(&x[1]));
                let product = self.graph.matmul_bt(rows, weight);
                match x.get(2) {
                    Some(bias) => {
                        let bias = self.flat(bias);
                        self.graph.bias_add(product, bias)
                    }
                    None => product,
                }
            }
            Op::CrossEntropy { ignore_index, reduction } => {
                self.cross_entropy(node, &x[0], *ignore_index, *reduction == MEAN)?
            }
            _ => return self.layer(node, x),
        };
        if self.size(made) != shape.iter().product::<usize>() {
            return failed(format!("{} elements for {shape:?}", self.size(made)));
        }
        Ok(View::new(made, shape))
    }

    /// A number, to broadcast.
    fn scalar(&mut self, number: f64) -> Result<View> {
        if !number.is_finite() {
            return unsupported(format!("the number {number}"));
        }
        Ok(View::new(self.filled(number, &[1]), &[]))
    }

    fn unary(&mut self, kind: Unary, view: &View) -> Result<u32> {
        let x = self.flat(view);
        let graph = &mut self.graph;
        Ok(match kind {
            Unary::Abs => graph.abs(x),
            Unary::Detach => graph.stop_gradient(x),
            Unary::Exp => graph.exp(x),
            Unary::Gelu => {
                let rows = self.matrix(view);
                self.gelu(rows)
            }
            Unary::GeluTanh if self.trains => {
                let rows = self.matrix(view);
                self.gelu_by_tanh(rows)
            }
            Unary::GeluTanh => graph.gelu(x),
            Unary::Log => graph.log(x),
            Unary::Not => self.complement(x),
            Unary::Relu => graph.relu(x),
            Unary::Sigmoid => graph.sigmoid(x),
            Unary::Silu => graph.silu(x),
            Unary::Tanh => graph.tanh(x),
            Unary::Cos | Unary::Erf | Unary::Log1p | Unary::Neg | Unary::Rsqrt | Unary::Sin | Unary::Sqrt => {
                return unsupported(NONE);
            }
        })
    }

    /// 1 - x
    fn complement(&mut self, x: u32) -> u32 {
        let (ones, minus) = (self.filled(1.0, &[self.size(x)]), self.graph.neg(x));
        self.graph.add(ones, minus)
    }

    fn binary(&mut self, kind: Binary, x: &View, y: &View, shape: &[usize]) -> Result<u32> {
        let (x, y) = (x.expand(shape), y.expand(shape));
        Ok(match kind {
            Binary::Add => match (self.row(&x), self.row(&y)) {
                (_, Some(row)) => self.add_row(&x, row),
                (Some(row), _) => self.add_row(&y, row),
                _ => {
                    let (x, y) = (self.flat(&x), self.flat(&y));
                    let (x, y) = (self.apart(x), self.apart(y));
                    self.graph.add(x, y)
                }
            },
            Binary::Mul | Binary::And => {
                let (x, y) = (self.flat(&x), self.flat(&y));
                self.graph.mul(x, y)
            }
            Binary::Div => {
                let (x, y) = (self.flat(&x), self.flat(&y));
                let y = self.graph.recip(y);
                self.graph.mul(x, y)
            }
            _ => return unsupported(NONE),
        })
    }

    /// A parameter times 1, so that nothing else reads the parameter's gradient. Version 0.3 fuses the gradient of a
    /// sum into what reads it; where that is also the parameter's gradient, it is never written.
    fn apart(&mut self, x: u32) -> u32 {
        let mut made = x;
        while matches!(self.graph.node(made).op, graph::Op::Identity) {
            made = self.graph.node(made).inputs[0];
        }
        match self.graph.node(made).op {
            graph::Op::Parameter { .. } if self.trains => {
                let ones = self.filled(1.0, &[self.size(x)]);
                self.graph.mul(x, ones)
            }
            _ => x,
        }
    }

    /// The row that a view repeats, if it repeats one.
    fn row(&mut self, view: &View) -> Option<u32> {
        let size = self.size(view.node);
        match view.runs()[..] {
            [(_, 0), (columns, 1)] if columns == size => {
                Some(self.flat(&View::new(view.node, &[columns]).times(view.factor)))
            }
            _ => None,
        }
    }

    fn add_row(&mut self, x: &View, row: u32) -> u32 {
        let (x, columns) = (self.flat(x), self.size(row));
        let rows = self.shaped(x, &[self.size(x) / columns, columns]);
        self.graph.bias_add(rows, row)
    }

    /// 1 where it holds, 0 elsewhere.
    fn compare(&mut self, kind: Compare, x: &View, y: &View, shape: &[usize]) -> u32 {
        let (x, y) = (self.flat(&x.expand(shape)), self.flat(&y.expand(shape)));
        let (x, y) = if kind == Compare::Lt { (y, x) } else { (x, y) };
        let greater = self.graph.greater(x, y);
        match kind {
            Compare::Eq | Compare::Ne => {
                let less = self.graph.greater(y, x);
                let differs = self.graph.add(greater, less);
                if kind == Compare::Ne { differs } else { self.complement(differs) }
            }
            _ => greater,
        }
    }

    /// condition · then + (1 - condition) · otherwise, which is a choice as long as both are finite.
    fn choose(&mut self, x: &[View], then: Option<f64>, otherwise: Option<f64>, shape: &[usize]) -> Result<u32> {
        let mut given = x[1..].iter();
        let mut side = |recorder: &mut Self, number: Option<f64>| match number {
            Some(number) => recorder.scalar(number),
            None => given.next().cloned().map_or_else(|| failed("a side is missing"), Ok),
        };
        let (then, otherwise) = (side(self, then)?, side(self, otherwise)?);
        let condition = self.flat(&x[0].expand(shape));
        let then = self.flat(&then.expand(shape));
        let otherwise = self.flat(&otherwise.expand(shape));
        let negated = self.complement(condition);
        let (then, otherwise) = (self.graph.mul(condition, then), self.graph.mul(negated, otherwise));
        Ok(self.graph.add(then, otherwise))
    }

    fn cat(&mut self, x: &[View], dim: usize) -> u32 {
        let outer: usize = x[0].shape[..dim].iter().product();
        let inner: usize = x[0].shape[dim + 1..].iter().product();
        let (mut made, mut length) = (self.flat(&x[0]), x[0].shape[dim]);
        for next in &x[1..] {
            let (more, node) = (next.shape[dim], self.flat(next));
            made = self.graph.concat(made, node, size32(outer), size32(length), size32(more), size32(inner));
            length += more;
        }
        made
    }

    /// Meganeura's own takes a weight for each class of each row and is the mean over all rows. It is summed only when
    /// it is read, so it can't be used where the graph goes on from it; there the loss is composed.
    fn cross_entropy(&mut self, node: &Node, x: &View, ignored: i64, mean: bool) -> Result<u32> {
        let classes = self.integers(&node.inputs[1])?;
        let (rows, width) = (x.shape[0], x.shape[1]);
        let kept = classes.iter().filter(|class| **class != ignored).count();
        let weight = if mean { rows as f32 / kept as f32 } else { rows as f32 };
        let mut weights = vec![0.0; rows * width];
        for (row, class) in classes.iter().enumerate().filter(|(_, class)| **class != ignored) {
            weights[row * width + usize::try_from(*class)?] = weight;
        }
        let last = self.trains && self.entry.outputs.values().any(|output| *output == node.out.name);
        if !last {
            for weight in &mut weights {
                *weight /= -(rows as f32);
            }
        }
        let name = format!("weights of {}", node.out.name);
        let (logits, weights) = (self.matrix(x), self.feed(&name, &[rows, width], weights));
        if last {
            return Ok(self.graph.cross_entropy_loss(logits, weights));
        }
        let logarithms = self.graph.log_softmax(logits);
        let weighted = self.graph.mul(logarithms, weights);
        Ok(self.graph.sum_all(weighted))
    }
}
