//! Embeddings and rotary positions.

use candle_core::{DType, Device, Result, Tensor};

use super::{File, Launch, Source, Target, launch, size, suffix, uninitialised, upload};
use crate::ops::rope::RotaryTable;

const THREADS: usize = 256;

fn over_values<'a>(device: &'a Device, kernel: &'a str, count: usize) -> Launch<'a> {
    let grid = [count.div_ceil(THREADS), 1, 1];
    Launch { device, file: File::Embedding, kernel, grid, block: [THREADS, 1, 1], shared: 0 }
}

pub(in crate::ops) fn embed(ids: &[u32], table: &Tensor, positions: Option<&Tensor>, time: usize) -> Result<Tensor> {
    let features = table.dim(1)?;
    let device = table.device();
    let (ids, table) = (upload(ids, device)?, Source::of(table, DType::F32)?);
    let positions = Source::optional(positions, DType::F32)?;
    let tokens = ids.tensor.elem_count();
    let (x, target) = uninitialised(DType::F32, (tokens, features), device)?;
    let lookup = over_values(device, "embed", tokens * features);
    launch!(lookup, target, &ids, &table, positions.as_ref(), size(tokens)?, size(features)?, size(time)?)?;
    Ok(x)
}

/// Tokens sorted by id, those of one id in their order, and where each id's begin, with the end behind the last.
fn grouped(ids: &[u32]) -> Result<(Vec<u32>, Vec<u32>)> {
    let mut order: Vec<u32> = (0..size(ids.len())?).collect();
    order.sort_by_key(|&token| ids[token as usize]);
    let mut starts = Vec::new();
    for (i, &token) in order.iter().enumerate() {
        if i == 0 || ids[token as usize] != ids[order[i - 1] as usize] {
            starts.push(size(i)?);
        }
    }
    starts.push(size(order.len())?);
    Ok((order, starts))
}

pub(in crate::ops) fn add_rows(table: &Tensor, ids: &[u32], rows: &Tensor) -> Result<()> {
    let features = table.dim(1)?;
    let device = table.device();
    let (order, starts) = grouped(ids)?;
    let groups = starts.len() - 1;
    let (ids, order, starts) = (upload(ids, device)?, upload(&order, device)?, upload(&starts, device)?);
    let (rows, target) = (Source::of(rows, DType::F32)?, Target::of(table)?);
    let threads = features.next_multiple_of(32).min(THREADS);
    let grid = [groups, features.div_ceil(threads), 1];
    let add = Launch { device, file: File::Embedding, kernel: "add_rows", grid, block: [threads, 1, 1], shared: 0 };
    launch!(add, target, &rows, &ids, &order, &starts, size(features)?)
}

pub(in crate::ops) fn position_gradient(dx: &Tensor, time: usize, context: usize) -> Result<Tensor> {
    let (tokens, features) = dx.dims2()?;
    let source = Source::of(dx, DType::F32)?;
    let (dp, target) = uninitialised(DType::F32, (context, features), dx.device())?;
    let sum = over_values(dx.device(), "position_gradient", context * features);
    launch!(sum, target, &source, size(tokens / time)?, size(time)?, size(context)?, size(features)?)?;
    Ok(dp)
}

/// Turns by the table's angles times `sign`.
pub(in crate::ops) fn rotate(x: &Tensor, table: &RotaryTable, time: usize, sign: f32) -> Result<Tensor> {
    let (tokens, features) = x.dims2()?;
    let (source, cosines, sines) = (Source::new(x)?, Source::new(&table.cos)?, Source::new(&table.sin)?);
    let (y, target) = uninitialised(x.dtype(), (tokens, features), x.device())?;
    let kernel = format!("rotate_{}", suffix(x.dtype()));
    let half = table.half()?;
    let turn = over_values(x.device(), &kernel, tokens * features / 2);
    launch!(turn, target, &source, &cosines, &sines, size(tokens)?, size(features)?, size(half)?, size(time)?, sign)?;
    Ok(y)
}
