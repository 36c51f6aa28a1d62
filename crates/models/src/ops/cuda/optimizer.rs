//! Updates of many tensors in one launch, and Newton-Schulz on batches of equally shaped matrices.

use candle_core::{DType, Device, Error, Result, Tensor};

use super::linear::{Factor, product};
use super::{Count, File, Launch, Source, Target, factor_type, launch, size, suffix, uninitialised, upload};
use crate::Precision;
use crate::ops::loss::Sum;
use crate::optim::{AdamWFactors, Muon, Orthogonalizer, Sgd, StepSize, Updated, exact_polar};

const THREADS: usize = 256;
/// Elements of a tensor that a block takes (`CHUNK` in `common.cuh`).
const CHUNK: usize = 4096;
/// Elements of matrices that Newton-Schulz takes at one time; bounds its memory.
const BATCH: usize = 1 << 27;

fn check(update: &Updated<'_>) -> Result<()> {
    let shape = update.value.dims();
    match update.gradient.dims() == shape && update.state.iter().all(|(_, state)| state.dims() == shape) {
        true => Ok(()),
        false => Err(Error::Msg(format!("gradient: found shape {:?}, expected {shape:?}", update.gradient.dims()))),
    }
}

/// The entries of a kernel over many tensors (`Entry` in `common.cuh`).
#[derive(Default)]
struct Table {
    entries: Vec<i64>,
    blocks: usize,
    /// Keeps what the addresses point to.
    sources: Vec<Source>,
}

impl Table {
    fn push(&mut self, addresses: &[u64], elements: usize) {
        let mut entry = [0; 8];
        for (slot, &address) in entry.iter_mut().zip(addresses) {
            *slot = address as i64;
        }
        entry[5] = elements as i64;
        entry[6] = self.blocks as i64;
        self.entries.extend(entry);
        self.blocks += elements.div_ceil(CHUNK);
    }

    /// The address of a tensor that the kernel reads.
    fn source(&mut self, tensor: &Tensor) -> Result<u64> {
        let source = Source::of(tensor, DType::F32)?;
        let address = source.address;
        self.sources.push(source);
        Ok(address)
    }

    /// The table on the device, the number of its entries, and the launch over all blocks.
    fn finish<'a>(&self, device: &'a Device, kernel: &'a str) -> Result<(Source, u32, Launch<'a>)> {
        let grid = [self.blocks, 1, 1];
        let launch = Launch { device, file: File::Optimizer, kernel, grid, block: [THREADS, 1, 1], shared: 0 };
        Ok((upload(&self.entries, device)?, size(self.entries.len() / 8)?, launch))
    }
}

fn device_of<'a>(updates: &[Updated<'a>]) -> Result<&'a Device> {
    updates.first().map(|update| update.value.device()).ok_or_else(|| Error::Msg("found no tensor to update".into()))
}

pub(crate) fn adamw(updates: &[Updated<'_>], f: AdamWFactors) -> Result<Vec<Tensor>> {
    let device = device_of(updates)?;
    let mut table = Table::default();
    let mut values = Vec::with_capacity(updates.len());
    for update in updates {
        check(update)?;
        let [first, second] = update.state.tensors()?;
        let (value, target) = uninitialised(DType::F32, update.value.shape(), device)?;
        let (w, g) = (table.source(update.value)?, table.source(update.gradient)?);
        table.push(&[target.0, w, Target::of(first)?.0, Target::of(second)?.0, g], value.elem_count());
        values.push(value);
    }
    let (entries, count, kernel) = table.finish(device, "adamw")?;
    let [keep1, keep2] = f.keep;
    let [take1, take2] = f.take;
    launch!(kernel, &entries, count, f.shrink, f.rate, f.root, keep1, keep2, take1, take2, f.eps)?;
    Ok(values)
}

pub(crate) fn sgd(updates: &[Updated<'_>], rule: &Sgd, step: StepSize) -> Result<Vec<Tensor>> {
    let device = device_of(updates)?;
    let mut table = Table::default();
    let mut values = Vec::with_capacity(updates.len());
    for update in updates {
        check(update)?;
        let [buffer] = update.state.tensors()?;
        let (value, target) = uninitialised(DType::F32, update.value.shape(), device)?;
        let (w, g) = (table.source(update.value)?, table.source(update.gradient)?);
        table.push(&[target.0, w, Target::of(buffer)?.0, g], value.elem_count());
        values.push(value);
    }
    let (entries, count, kernel) = table.finish(device, "sgd")?;
    let (rate, momentum, decay) = (step.learning_rate as f32, rule.momentum as f32, rule.weight_decay as f32);
    launch!(kernel, &entries, count, rate, momentum, decay, rule.nesterov)?;
    Ok(values)
}

/// Muon on matrices, in batches of one shape; the new values come in the order of `updates`.
pub(crate) fn muon(updates: &[Updated<'_>], rule: &Muon, step: StepSize) -> Result<Vec<Tensor>> {
    let mut values: Vec<Option<Tensor>> = vec![None; updates.len()];
    let mut left: Vec<usize> = (0..updates.len()).collect();
    while let Some(&first) = left.first() {
        let shape = updates[first].value.dims();
        let most = (BATCH / updates[first].value.elem_count().max(1)).max(1);
        let batch: Vec<usize> = left.iter().copied().filter(|&i| updates[i].value.dims() == shape).take(most).collect();
        left.retain(|i| !batch.contains(i));
        let members: Vec<&Updated<'_>> = batch.iter().map(|&i| &updates[i]).collect();
        for (i, value) in batch.iter().zip(muon_batch(&members, rule, step)?) {
            values[*i] = Some(value);
        }
    }
    Ok(values.into_iter().flatten().collect())
}

fn muon_batch(updates: &[&Updated<'_>], rule: &Muon, step: StepSize) -> Result<Vec<Tensor>> {
    let value = updates[0].value;
    let device = value.device();
    let ((outputs, inputs), elements) = (value.dims2()?, value.elem_count());
    let (directions, directions_target) = uninitialised(DType::F32, (updates.len(), outputs, inputs), device)?;
    let mut table = Table::default();
    for (i, update) in updates.iter().enumerate() {
        check(update)?;
        let [buffer] = update.state.tensors()?;
        let direction = directions_target.0 + (i * elements * DType::F32.size_in_bytes()) as u64;
        let gradient = table.source(update.gradient)?;
        table.push(&[direction, Target::of(buffer)?.0, gradient], elements);
    }
    let (squares, squares_target) = uninitialised(DType::F64, table.blocks, device)?;
    let (entries, count, kernel) = table.finish(device, "muon_momentum")?;
    launch!(kernel, &entries, count, squares_target, rule.momentum as f32, rule.nesterov)?;

    let polar =
        polar_factors(&Source::new(&directions)?, &Source::new(&squares)?, rule.orthogonalizer, step.precision)?;
    let polar = Source::new(&polar)?;
    let rate = (step.learning_rate * rule.scale.factor(outputs, inputs)) as f32;
    let shrink = (1.0 - step.learning_rate * rule.weight_decay) as f32;
    let mut table = Table::default();
    let mut values = Vec::with_capacity(updates.len());
    for (i, update) in updates.iter().enumerate() {
        let (value, target) = uninitialised(DType::F32, update.value.shape(), device)?;
        let w = table.source(update.value)?;
        let direction = polar.address + (i * elements * polar.tensor.dtype().size_in_bytes()) as u64;
        table.push(&[target.0, w, direction], elements);
        values.push(value);
    }
    let name = format!("muon_apply_{}", suffix(polar.tensor.dtype()));
    let (entries, count, kernel) = table.finish(device, &name)?;
    launch!(kernel, &entries, count, shrink, rate)?;
    Ok(values)
}

/// The polar factors of a batch of matrices `[batch, rows, columns]`, from the sums of squares of each matrix's chunks.
fn polar_factors(matrices: &Source, squares: &Source, method: Orthogonalizer, precision: Precision) -> Result<Tensor> {
    let device = matrices.tensor.device();
    let (batch, rows, columns) = matrices.tensor.dims3()?;
    let Some((steps, stretch)) = method.polynomials() else {
        return exact(&matrices.tensor);
    };
    let dtype = factor_type(precision);
    let blocks = (rows * columns).div_ceil(CHUNK);
    let (x, target) = uninitialised(dtype, (batch, rows, columns), device)?;
    let kernel = format!("muon_normalise_{}", suffix(dtype));
    let (grid, block) = ([blocks, batch, 1], [THREADS, 1, 1]);
    let normalise = Launch { device, file: File::Optimizer, kernel: &kernel, grid, block, shared: 0 };
    launch!(normalise, target, matrices, squares, size(blocks)?, Count(rows * columns), stretch as f32)?;
    newton_schulz(x, &steps, precision)
}

/// X <- a X + b X G + c X G^2 for each (a, b, c), with G the Gram matrix of the shorter side, for every matrix of a
/// batch.
fn newton_schulz(mut x: Tensor, steps: &[[f64; 3]], precision: Precision) -> Result<Tensor> {
    let (batch, rows, columns) = x.dims3()?;
    let (side, tall, dtype) = (rows.min(columns), rows > columns, x.dtype());
    for &[a, b, c] in steps {
        let source = Source::new(&x)?;
        let (gram, target) = uninitialised(dtype, (batch, side, side), x.device())?;
        let (left, right) = (Factor::new(&source)?.turned(tall), Factor::new(&source)?.turned(!tall));
        product(left, right, (target, dtype), [0.0, 1.0], precision)?;
        let polynomial = gram.copy()?;
        let gram = Source::new(&gram)?;
        let target = (Target::of(&polynomial)?, dtype);
        product(Factor::new(&gram)?, Factor::new(&gram)?, target, [b as f32, c as f32], precision)?;
        let polynomial = Source::new(&polynomial)?;
        let next = x.copy()?;
        let (x_factor, p) = (Factor::new(&source)?, Factor::new(&polynomial)?);
        let (left, right) = if tall { (x_factor, p) } else { (p, x_factor) };
        product(left, right, (Target::of(&next)?, dtype), [a as f32, 1.0], precision)?;
        x = next;
    }
    Ok(x)
}

/// By a decomposition on the CPU: slow, and meant as a reference.
fn exact(matrices: &Tensor) -> Result<Tensor> {
    let (batch, rows, columns) = matrices.dims3()?;
    let values = matrices.flatten_all()?.to_vec1::<f32>()?;
    let mut polar = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact(rows * columns) {
        polar.extend(exact_polar(matrix, rows, columns));
    }
    Tensor::from_vec(polar, (batch, rows, columns), matrices.device())
}

pub(crate) fn orthogonalize(matrix: &Tensor, method: Orthogonalizer, precision: Precision) -> Result<Tensor> {
    let (rows, columns) = matrix.dims2()?;
    let (squares, _) = chunk_squares([matrix].into_iter())?;
    let matrix = Source::new(&Source::of(matrix, DType::F32)?.tensor.unsqueeze(0)?)?;
    let polar = polar_factors(&matrix, &squares, method, precision)?;
    Ok(Source::of(&polar.reshape((rows, columns))?, DType::F32)?.tensor)
}

/// The sum of squares of every chunk of all tensors, and how many chunks there are.
fn chunk_squares<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<(Source, usize)> {
    let mut table = Table::default();
    let mut device = None;
    for tensor in tensors {
        let address = table.source(tensor)?;
        table.push(&[address], tensor.elem_count());
        device = Some(tensor.device());
    }
    let device = device.ok_or_else(|| Error::Msg("found no tensor to sum".into()))?;
    let (squares, target) = uninitialised(DType::F64, table.blocks, device)?;
    let (entries, count, kernel) = table.finish(device, "squares")?;
    launch!(kernel, &entries, count, target)?;
    Ok((Source::new(&squares)?, table.blocks))
}

/// The sum of squares of all tensors.
pub(crate) fn sum_of_squares<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<Sum> {
    let (squares, blocks) = chunk_squares(tensors)?;
    let device = squares.tensor.device();
    let (sum, target) = uninitialised(DType::F64, 1, device)?;
    let (grid, block) = ([1, 1, 1], [THREADS, 1, 1]);
    let total = Launch { device, file: File::Optimizer, kernel: "sum_f64", grid, block, shared: 0 };
    launch!(total, target, &squares, size(blocks)?)?;
    Ok(Sum::Pending(sum))
}
