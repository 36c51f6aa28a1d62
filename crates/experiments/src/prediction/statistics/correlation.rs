//! How two quantities go together.

/// Spearman's rank correlation, equal numbers sharing their mean rank; none where a side does not vary or there are
/// fewer than three pairs.
pub(in crate::prediction) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let ranked: Vec<(f64, f64)> = ranks(&x).into_iter().zip(ranks(&y)).collect();
    let (_, correlation) = line(&ranked)?;
    (pairs.len() >= 3).then_some(correlation)
}

/// The slope of the least-squares line of y on x, and Pearson's correlation; none where a side does not vary.
pub(in crate::prediction) fn line(pairs: &[(f64, f64)]) -> Option<(f64, f64)> {
    let count = pairs.len() as f64;
    let mean = |number: fn(&(f64, f64)) -> f64| pairs.iter().map(number).sum::<f64>() / count;
    let (x, y) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let sum = |number: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|pair| number(pair.0 - x, pair.1 - y)).sum::<f64>();
    let (xx, yy, xy) = (sum(&|a, _| a * a), sum(&|_, b| b * b), sum(&|a, b| a * b));
    (xx > 0.0 && yy > 0.0).then(|| (xy / xx, xy / (xx * yy).sqrt()))
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for same in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let before = order.iter().position(|place| *place == same[0]).unwrap_or(0);
        let rank = before as f64 + 0.5 * (same.len() - 1) as f64;
        same.iter().for_each(|&place| ranks[place] = rank);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// from scipy.stats import spearmanr
    /// spearmanr([1, 2, 2, 4, 5], [3, 1, 4, 4, 9]).statistic     # 0.7631578947368421
    #[test]
    fn ranks_with_ties_are_scipys() {
        let pairs = [(1.0, 3.0), (2.0, 1.0), (2.0, 4.0), (4.0, 4.0), (5.0, 9.0)];
        assert!((spearman(&pairs).unwrap() - 0.763_157_894_736_842_1).abs() < 1e-12);
    }

    #[test]
    fn an_order_is_one_whatever_the_scale_and_nothing_is_said_of_what_does_not_vary() {
        let cubes: Vec<(f64, f64)> = (-3..5).map(f64::from).map(|x| (x, x.powi(3))).collect();
        assert_eq!(spearman(&cubes), Some(1.0));
        let turned: Vec<(f64, f64)> = cubes.iter().map(|(x, y)| (*x, -y)).collect();
        assert!((spearman(&turned).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(spearman(&cubes[..2]), None);
        let (slope, correlation) = line(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
        assert!((slope - 2.0).abs() < 1e-12 && (correlation - 1.0).abs() < 1e-12);
    }
}
