//! Looking up token and position embeddings, and scattering their gradients.

use candle_core::{CpuStorage, Error, InplaceOp1, Layout, Result, Tensor};

use super::view::{not_empty, tensor, values};

/// x_i = row ids_i of `table` (+ row i mod time of `positions`): `[ids, features]` from `table` `[vocabulary,
/// features]` and `positions` `[context, features]`.
///
/// # Errors
/// If an id is not below the vocabulary's size or `time` is above the context.
pub fn embed(ids: &[u32], table: &Tensor, positions: Option<&Tensor>, time: usize) -> Result<Tensor> {
    let (vocabulary, features) = table.dims2()?;
    not_empty("embed", &[ids.len(), vocabulary, features, time])?;
    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        return Err(Error::Msg(format!("embed: found token {id}, the vocabulary has {vocabulary} entries")));
    }
    if let Some(positions) = positions
        && positions.dims2().map_or(true, |(context, width)| context < time || width != features)
    {
        return Err(Error::Msg(format!("embed: {:?} positions for {time} of width {features}", positions.dims())));
    }
    on_gpu!(table, embed(ids, table, positions, time));
    let table = values(table)?;
    let positions = positions.map(values).transpose()?;
    let mut x = Vec::with_capacity(ids.len() * features);
    for &id in ids {
        x.extend_from_slice(&table[id as usize * features..][..features]);
    }
    if let Some(positions) = positions {
        for (i, row) in x.chunks_exact_mut(features).enumerate() {
            for (x, p) in row.iter_mut().zip(&positions[i % time * features..]) {
                *x += p;
            }
        }
    }
    tensor(x, (ids.len(), features))
}

struct AddRows<'a> {
    ids: &'a [u32],
    rows: &'a Tensor,
    features: usize,
}

impl InplaceOp1 for AddRows<'_> {
    fn name(&self) -> &'static str {
        "add_rows"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(Error::RequiresContiguous { op: "add_rows" });
        };
        let CpuStorage::F32(table) = storage else {
            return Err(Error::Msg("add_rows: expected a table of f32".into()));
        };
        let table = &mut table[start..end];
        let rows = values(self.rows)?;
        for (&id, row) in self.ids.iter().zip(rows.chunks_exact(self.features)) {
            for (t, r) in table[id as usize * self.features..].iter_mut().zip(row) {
                *t += r;
            }
        }
        Ok(())
    }
}

/// Adds row i of `rows` `[ids, features]` to row ids_i of `table` `[vocabulary, features]`, in place: the backward of
/// [`embed`].
///
/// # Errors
/// If the shapes do not fit or an id is not below the vocabulary's size.
pub fn add_rows(table: &Tensor, ids: &[u32], rows: &Tensor) -> Result<()> {
    let (vocabulary, features) = table.dims2()?;
    not_empty("add_rows", &[ids.len(), vocabulary, features])?;
    if rows.dims() != [ids.len(), features] || ids.iter().any(|&id| id as usize >= vocabulary) {
        return Err(Error::Msg(format!("add_rows: {:?} into a table {:?}", rows.dims(), table.dims())));
    }
    on_gpu!(table, add_rows(table, ids, rows));
    table.inplace_op1(&AddRows { ids, rows, features })
}

/// The gradient of the position embeddings `[context, features]` from dx `[tokens, features]`: row t sums the tokens at
/// time t.
///
/// # Errors
/// If `dx` is not a matrix, or `time` is above the context.
pub fn position_gradient(dx: &Tensor, time: usize, context: usize) -> Result<Tensor> {
    let (tokens, features) = dx.dims2()?;
    not_empty("position_gradient", &[tokens, features, time])?;
    if time > context {
        return Err(Error::Msg(format!("position_gradient: found {time} positions, expected at most {context}")));
    }
    on_gpu!(dx, position_gradient(dx, time, context));
    let dx = values(dx)?;
    let mut dp = vec![0.0; context * features];
    for (i, row) in dx.chunks_exact(features).enumerate() {
        for (d, x) in dp[i % time * features..].iter_mut().zip(row) {
            *d += x;
        }
    }
    tensor(dp, (context, features))
}
