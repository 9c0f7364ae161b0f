//! Runs an entry operator by operator, for engines that compute as they go. Gradients are by the engine's autograd.

use inferena_worker::{Array, Dtype, Engine, Entry, Error, Node, Op, Program, Result, Setup, Spec, Step, Tensors};
use inferena_worker::{failed, lacking};
use std::collections::HashMap;
use std::rc::Rc;

/// An engine's operator table.
pub trait Operators: Sized + 'static {
    type Tensor: Clone + 'static;
    /// As in [`Engine`].
    const NAME: &'static str;
    /// As in [`Engine`].
    const OPERATORS: &'static str;

    /// Start the engine.
    fn start(setup: &Setup) -> Result<Self>;

    /// What really runs, as the engine tells it.
    fn describe(&self) -> String;

    /// Bring a tensor into the engine's memory; `variable` says that its gradient will be asked for.
    fn upload(&self, array: Array, variable: bool) -> Result<Self::Tensor>;

    /// A copy of a weight (out, in), if the engine multiplies many rows faster by another order in memory.
    fn arranged(&self, _: &Self::Tensor) -> Result<Option<Self::Tensor>> {
        Ok(None)
    }

    /// Compute one operator; `trains` says that gradients will be asked for. A tensor is moved in at its last use, so
    /// that the engine may compute in place.
    fn apply(&self, node: &Node, tensors: Vec<Self::Tensor>, trains: bool) -> Result<Self::Tensor>;

    /// Gradients of a scalar. One is None where the scalar does not depend on that tensor.
    fn gradients(&self, loss: &Self::Tensor, of: &[Self::Tensor]) -> Result<Vec<Option<Self::Tensor>>>;

    fn download(&self, tensor: &Self::Tensor, dtype: Dtype) -> Result<Array>;

    /// Wait until everything that was started is done.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}

/// An [`Engine`] of an operator table.
pub struct Walker<O: Operators> {
    operators: Rc<O>,
    parameters: HashMap<String, O::Tensor>,
    trainable: HashMap<String, O::Tensor>,
    /// Copies of weights for products with many rows.
    arranged: HashMap<String, O::Tensor>,
}

impl<O: Operators> Engine for Walker<O> {
    const NAME: &'static str = O::NAME;
    const OPERATORS: Option<&'static str> = Some(O::OPERATORS);

    fn start(setup: &Setup) -> Result<Self> {
        let (parameters, trainable, arranged) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok(Self { operators: Rc::new(O::start(setup)?), parameters, trainable, arranged })
    }

    fn describe(&self) -> String {
        self.operators.describe()
    }

    fn load(&mut self, program: &Program, weights: &Tensors) -> Result<()> {
        self.parameters.clear();
        for Spec { name, .. } in &program.parameters {
            self.parameters.insert(name.clone(), self.operators.upload(weights.get(name)?, false)?);
        }
        self.trainable.clear();
        self.arranged.clear();
        self.operators.synchronize()
    }

    fn compile(&mut self, entry: &Entry) -> Result<Box<dyn Step>> {
        Ok(Box::new(Walk::new(self, entry)?))
    }
}

/// One entry. Its tensors have numbers; parameters, inputs and constants are in place.
struct Walk<O: Operators> {
    operators: Rc<O>,
    nodes: Vec<(Node, Vec<usize>, usize)>,
    /// For each node the tensors that nobody reads after it.
    last: Vec<Vec<usize>>,
    leaves: Vec<Option<O::Tensor>>,
    outputs: Vec<(String, usize, Dtype)>,
    variables: Vec<(String, usize)>,
    trains: bool,
    results: Vec<(String, O::Tensor, Dtype)>,
}

impl<O: Operators> Walk<O> {
    fn new(engine: &mut Walker<O>, entry: &Entry) -> Result<Self> {
        let operators = Rc::clone(&engine.operators);
        let trains = entry.name == "training";
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut leaves = Vec::new();
        let mut variables = Vec::new();
        let mut add = |name: &str, leaf: Option<O::Tensor>| {
            numbers.insert(name.into(), leaves.len());
            leaves.push(leaf);
            leaves.len() - 1
        };
        for name in &entry.parameters {
            let Some(tensor) = engine.parameters.get(name).cloned() else {
                return failed(format!("no parameter {name}"));
            };
            let variable = trains && entry.trainable.contains(name);
            let leaf = if variable { engine.variable(name, &tensor)? } else { tensor };
            let number = add(name, Some(leaf));
            if variable {
                variables.push((name.clone(), number));
            }
        }
        for (name, array) in entry.inputs.iter().chain(&entry.constants) {
            add(name, Some(operators.upload(array.clone(), false)?));
        }
        let plain = entry.nodes()?;
        for node in &plain {
            add(&node.out.name, None);
        }
        let number =
            |name: &str| numbers.get(name).copied().ok_or_else(|| Error::Failed(format!("nothing makes {name}")));
        let mut outputs = Vec::new();
        for (name, tensor) in &entry.outputs {
            let made = plain.iter().find(|node| node.out.name == *tensor);
            outputs.push((name.clone(), number(tensor)?, made.map_or(Ok(Dtype::Float32), Node::dtype)?));
        }
        let mut nodes = Vec::with_capacity(plain.len());
        for node in plain {
            if node.inputs.is_empty() {
                leaves[number(&node.out.name)?] = Some(operators.apply(&node, vec![], trains)?); // the same in all steps
                continue;
            }
            let mut inputs = node.inputs.iter().map(|name| number(name)).collect::<Result<Vec<_>>>()?;
            if !trains && let Some(weight) = engine.arranged(&node)? {
                inputs[1] = leaves.len();
                leaves.push(Some(weight));
            }
            let out = number(&node.out.name)?;
            nodes.push((node, inputs, out));
        }
        let mut read: Vec<bool> = vec![false; leaves.len()];
        for (_, number, _) in &outputs {
            read[*number] = true;
        }
        let mut last = vec![Vec::new(); nodes.len()];
        for (place, (_, inputs, _)) in nodes.iter().enumerate().rev() {
            for number in inputs {
                if !std::mem::replace(&mut read[*number], true) && leaves[*number].is_none() {
                    last[place].push(*number);
                }
            }
        }
        Ok(Self { operators, nodes, last, leaves, outputs, variables, trains, results: Vec::new() })
    }

    fn forward(&self) -> Result<Vec<Option<O::Tensor>>> {
        let mut values = self.leaves.clone();
        for ((node, inputs, out), last) in self.nodes.iter().zip(&self.last) {
            let mut tensors = Vec::with_capacity(inputs.len());
            for (place, number) in inputs.iter().enumerate() {
                let ends = last.contains(number) && !inputs[place + 1..].contains(number);
                let value = if ends { values[*number].take() } else { values[*number].clone() };
                tensors.push(value.ok_or_else(|| Error::Failed(format!("node {} comes too early", node.out.name)))?);
            }
            let result = self.operators.apply(node, tensors, self.trains);
            values[*out] = Some(result.or_else(|error| match error {
                Error::Unsupported(why) => lacking(&node.operator, &node.out.name, &why),
                Error::Failed(why) => failed(format!("node {}: {why}", node.out.name)),
                memory @ Error::Memory(_) => Err(memory),
            })?);
        }
        Ok(values)
    }
}

impl<O: Operators> Walker<O> {
    /// The weight of a node that multiplies many rows by a parameter, in the order that the engine prefers. A single
    /// row is multiplied by the parameter itself.
    fn arranged(&mut self, node: &Node) -> Result<Option<O::Tensor>> {
        let many = node.out.shape.iter().rev().skip(1).product::<usize>() > 1;
        let (Op::Linear, true, Some(weight)) = (&node.op, many, node.inputs.get(1)) else { return Ok(None) };
        if let (None, Some(plain)) = (self.arranged.get(weight), self.parameters.get(weight))
            && let Some(made) = self.operators.arranged(plain)?
        {
            self.arranged.insert(weight.clone(), made);
        }
        Ok(self.arranged.get(weight).cloned())
    }

    /// A parameter whose gradient will be asked for.
    fn variable(&mut self, name: &str, plain: &O::Tensor) -> Result<O::Tensor> {
        if let Some(variable) = self.trainable.get(name) {
            return Ok(variable.clone());
        }
        let variable = self.operators.upload(self.operators.download(plain, Dtype::Float32)?, true)?;
        self.trainable.insert(name.into(), variable.clone());
        Ok(variable)
    }
}

impl<O: Operators> Step for Walk<O> {
    fn run(&mut self) -> Result<()> {
        self.results.clear(); // new results find room where the old ones were
        let values = self.forward()?;
        for (name, number, dtype) in &self.outputs {
            let value = values[*number].clone().ok_or_else(|| Error::Failed(format!("nothing makes {name}")))?;
            self.results.push((name.clone(), value, *dtype));
        }
        drop(values);
        if self.trains {
            let leaves: Vec<O::Tensor> = self.variables.iter().filter_map(|(_, at)| self.leaves[*at].clone()).collect();
            let gradients = self.operators.gradients(&self.results[0].1, &leaves)?;
            for ((name, _), gradient) in self.variables.iter().zip(gradients) {
                if let Some(gradient) = gradient {
                    self.results.push((format!("grad:{name}"), gradient, Dtype::Float32));
                }
            }
        }
        Ok(())
    }

    fn synchronize(&mut self) -> Result<()> {
        self.operators.synchronize()
    }

    fn outputs(&self) -> Result<Vec<(String, Array)>> {
        let mut found = Vec::new();
        for (name, tensor, dtype) in &self.results {
            found.push((name.clone(), self.operators.download(tensor, *dtype)?));
        }
        for (name, number) in &self.variables {
            let name = format!("grad:{name}");
            if let (false, Some(leaf)) = (found.iter().any(|(other, _)| *other == name), &self.leaves[*number]) {
                let shape = self.operators.download(leaf, Dtype::Float32)?.shape;
                let size = shape.iter().product();
                found.push((name, Array::float(&shape, vec![0.0; size]))); // because the loss does not depend on it
            }
        }
        Ok(found)
    }
}
