//! The curvature of a loss in a matrix of weights, from what the matrix reads and from the gradients of what it makes.
//!
//! For y = W x with W m x n, a token's gradient is d x^T with d the gradient of its output. K-FAC (Martens and Grosse,
//! arXiv 1503.05671) takes d and x as independent and tokens as apart: the curvature is B (x) S with B = E[d d^T] and
//! S = E[x x^T]. EK-FAC (George et al., arXiv 1806.03884) keeps the eigenvectors of both and measures the eigenvalues:
//! the mean squares of the gradients of whole examples in that basis.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, Axis, Zip};

use crate::error::Result;
use crate::linalg::{SymmetricEigen, symmetric_eigen};

/// B and S by their eigenvectors. Directions D are m x n, projected ones P = U^T D V with U those of B and V those of
/// S: entries of P are as far along the curvature's eigenvectors.
#[derive(Debug, Clone)]
pub struct Kronecker {
    /// Eigenvalues, ascending, and eigenvectors of B, m x m.
    pub outputs: SymmetricEigen,
    /// The same of S, n x n.
    pub inputs: SymmetricEigen,
}

impl Kronecker {
    /// From B and S.
    ///
    /// # Errors
    /// If one is not square or has an entry that is not finite.
    pub fn of(outputs: &Array2<f64>, inputs: &Array2<f64>) -> Result<Self> {
        let eigen = |moment| -> Result<SymmetricEigen> {
            let SymmetricEigen { values, vectors } = symmetric_eigen(moment)?;
            Ok(SymmetricEigen { values: values.mapv(|x| x.max(0.0)), vectors })
        };
        Ok(Self { outputs: eigen(outputs)?, inputs: eigen(inputs)? })
    }

    /// P = U^T D V.
    ///
    /// # Panics
    /// If the direction has another shape.
    pub fn projected(&self, direction: &Array2<f64>) -> Array2<f64> {
        self.outputs.vectors.t().dot(&direction.dot(&self.inputs.vectors))
    }

    /// The eigenvalues of B (x) S: entry ij is that along P_ij.
    pub fn eigenvalues(&self) -> Array2<f64> {
        let column = self.outputs.values.view().insert_axis(Axis(1));
        &column * &self.inputs.values
    }

    /// tr(B D S D^T), the curvature along D, from P.
    pub fn curvature(&self, projected: &Array2<f64>) -> f64 {
        weighted(projected, &self.eigenvalues())
    }

    /// tr(D S D^T), the mean square of what D adds to the output, from P.
    pub fn output_change(&self, projected: &Array2<f64>) -> f64 {
        projected.rows().into_iter().map(|row| (&row * &row).dot(&self.inputs.values)).sum()
    }

    /// The share of |D|^2 that lies in the leading `count` eigenvectors of S, from P; 0 of a matrix of zeros.
    pub fn leading_share(&self, projected: &Array2<f64>, count: usize) -> f64 {
        let squares = projected.mapv(|x| x * x);
        let all = squares.sum();
        let rest = squares.ncols().saturating_sub(count);
        let leading: f64 = squares.columns().into_iter().skip(rest).map(|column| column.sum()).sum();
        if all > 0.0 { leading / all } else { 0.0 }
    }
}

/// sum_ij w_ij P_ij^2: the curvature along D, from P, with eigenvalues w.
pub fn weighted(projected: &Array2<f64>, weights: &Array2<f64>) -> f64 {
    Zip::from(projected).and(weights).fold(0.0, |sum, p, w| sum + w * p * p)
}

/// The squares of the gradients of examples in the basis of a [`Kronecker`], summed in f64.
#[derive(Debug, Clone)]
pub struct ProjectedSquares {
    /// U and V.
    bases: [Array2<f32>; 2],
    sum: Array2<f64>,
    tokens: usize,
}

impl ProjectedSquares {
    /// No examples yet.
    pub fn new(basis: &Kronecker) -> Self {
        let bases = [&basis.outputs, &basis.inputs].map(|of| of.vectors.mapv(|x| x as f32));
        let sum = Array2::zeros((bases[0].ncols(), bases[1].ncols()));
        Self { bases, sum, tokens: 0 }
    }

    /// Takes in an example, a sequence of tokens: a row of output gradients (m) and one of inputs (n) for each.
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn add(&mut self, gradients: ArrayView2<'_, f32>, inputs: ArrayView2<'_, f32>) {
        let [u, v] = &self.bases;
        let (gradients, inputs) = (gradients.dot(u), inputs.dot(v));
        let mut gradient = Array2::<f32>::zeros(self.sum.dim());
        general_mat_mul(1.0, &gradients.t(), &inputs, 0.0, &mut gradient);
        self.sum.zip_mut_with(&gradient, |sum, &g| *sum += f64::from(g) * f64::from(g));
        self.tokens += gradients.nrows();
    }

    /// The mean squares per token: in place of [`Kronecker::eigenvalues`]. Zero without examples.
    pub fn mean(&self) -> Array2<f64> {
        &self.sum / self.tokens.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{gaussian_array, stream};
    use crate::vectors::SecondMoment;

    fn moment(rows: &Array2<f32>) -> Array2<f64> {
        let mut moment = SecondMoment::new(rows.ncols());
        moment.extend(&rows.iter().copied().collect::<Vec<f32>>());
        moment.mean()
    }

    fn drawn(rows: usize, columns: usize, name: &str) -> Array2<f32> {
        let mix = gaussian_array(columns, columns, &mut stream(1, name));
        gaussian_array(rows, columns, &mut stream(2, name)).dot(&mix).mapv(|x| x as f32)
    }

    #[test]
    fn curvature_is_the_trace_that_it_is_named_after() {
        let (d, x) = (drawn(40, 3, "d"), drawn(40, 5, "x"));
        let (b, s) = (moment(&d), moment(&x));
        let kronecker = Kronecker::of(&b, &s).unwrap();
        let direction = gaussian_array(3, 5, &mut stream(3, "D"));
        let p = kronecker.projected(&direction);
        let changed = direction.dot(&s).dot(&direction.t());
        let close = |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-10, "{found} {expected}");
        close(kronecker.curvature(&p), b.dot(&changed).diag().sum());
        close(kronecker.output_change(&p), changed.diag().sum());
        // A direction along one input eigenvector lies in the leading ones or does not.
        let along = |place: usize| {
            let vector = kronecker.inputs.vectors.column(place).to_owned();
            let direction = Array2::from_shape_fn((3, 5), |(i, j)| (1.0 + i as f64) * vector[j]);
            kronecker.leading_share(&kronecker.projected(&direction), 2)
        };
        assert!(along(4) > 1.0 - 1e-12 && along(3) > 1.0 - 1e-12 && along(2) < 1e-12);
    }

    /// Every output gradient with every input once, a token to an example: then d and x are independent.
    #[test]
    fn measured_eigenvalues_are_the_products_where_both_sides_are_independent() {
        let (d, x) = (drawn(12, 3, "d"), drawn(15, 4, "x"));
        let kronecker = Kronecker::of(&moment(&d), &moment(&x)).unwrap();
        let mut squares = ProjectedSquares::new(&kronecker);
        for gradient in d.rows() {
            for input in x.rows() {
                squares.add(gradient.insert_axis(Axis(0)), input.insert_axis(Axis(0)));
            }
        }
        let products = kronecker.eigenvalues();
        let largest = products.iter().copied().fold(0.0, f64::max);
        let off = (&squares.mean() - &products).iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert!(off < 1e-5 * largest, "{off} {largest}");
    }

    /// Tokens whose gradients add up in an example, and that depend on each other: the measured eigenvalues are the
    /// diagonal of the true second moment of the examples' gradients, and the products are not.
    #[test]
    fn measured_eigenvalues_are_the_diagonal_of_the_examples_true_second_moment() {
        let (tokens, examples) = (4, 30);
        let d = drawn(tokens * examples, 3, "d");
        // The input is made of the gradient.
        let x = d.dot(&drawn(3, 3, "map"));
        let kronecker = Kronecker::of(&moment(&d), &moment(&x)).unwrap();
        let mut squares = ProjectedSquares::new(&kronecker);
        let mut truth = Array2::<f64>::zeros((3, 3));
        for (d, x) in d.axis_chunks_iter(Axis(0), tokens).zip(x.axis_chunks_iter(Axis(0), tokens)) {
            squares.add(d, x);
            let gradient = d.mapv(f64::from).t().dot(&x.mapv(f64::from));
            truth += &(kronecker.projected(&gradient).mapv(|g| g * g) / (tokens * examples) as f64);
        }
        let off = (&squares.mean() / &truth - 1.0).iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert!(off < 1e-3, "{off}");
        let apart = (&kronecker.eigenvalues() / &truth - 1.0).iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert!(apart > 0.5, "{apart}");
    }
}
