//! What a comparison comes to: the decision, and the sentence that says why.

use super::super::wording::{fixed, percent};
use super::{Mode, Test};
use crate::definition::metric::Words;
use crate::definition::text::literal;

const fn words(en: &'static str, zh: &'static str) -> Words {
    Words { en, zh }
}

impl Test {
    /// The comparison with its decision.
    pub(super) fn judged(&self) -> String {
        let beyond_chance = match self.mode {
            Mode::Fixed => format!("p_adj < {:?}", self.alpha),
            Mode::Sequential | Mode::Bayes => "diff_lo > 0.0 OR diff_hi < 0.0".to_owned(),
        };
        let side = match self.mode {
            Mode::Fixed => "diff",
            // What is sure is the interval, which early looks have narrowed.
            Mode::Sequential | Mode::Bayes => "diff_lo + diff_hi",
        };
        format!(
            "  SELECT *, CASE {} END AS decision
  FROM (
    SELECT *, CASE WHEN {beyond_chance} THEN CASE WHEN {side} > 0.0 THEN 1 ELSE -1 END ELSE 0 END AS side,
      CASE WHEN adjusted_lo > 0.0 THEN 1 WHEN adjusted_hi < 0.0 THEN -1 WHEN adjusted_lo IS NOT NULL THEN 0 END AS adjusted_side
    FROM (
      SELECT *, adjusted_diff - adjusted_half AS adjusted_lo, adjusted_diff + adjusted_half AS adjusted_hi FROM completed
    ) AS adjusted
  ) AS sided",
            self.decisions().join("\n    ")
        )
    }

    fn decisions(&self) -> Vec<String> {
        let mut cases = vec!["WHEN is_baseline THEN 'baseline'".to_owned()];
        if self.is_assigned {
            cases.push("WHEN srm_p < 0.001 THEN 'invalid_srm'".to_owned());
        }
        cases.push("WHEN status NOT IN ('ok', 'immature') OR n = 0 THEN 'keep_running'".to_owned());
        if let Some(rope) = self.rope {
            cases.push(format!(
                "WHEN diff_lo > -{rope:?} AND diff_hi < {rope:?} THEN 'no_practical_difference'"
            ));
        }
        if !self.is_assigned {
            // Gone: it isn't beyond chance any more, and less than half of it is left.
            cases.push(
                "WHEN side <> 0 AND adjusted_side IS NOT NULL AND adjusted_side <> side AND adjusted_diff * side < 0.5 * diff * side THEN 'mix_only'"
                    .to_owned(),
            );
            cases.push("WHEN side <> 0 AND adjusted_side <> side THEN 'keep_running'".to_owned());
        }
        cases.push(
            "WHEN side = 1 THEN 'winner' WHEN side = -1 THEN 'loser' ELSE 'keep_running'"
                .to_owned(),
        );
        cases
    }

    /// The verdict, from the decision.
    pub(super) fn verdict(&self) -> String {
        let said = |words: Words, values: &[&str]| self.language.sql(words, values);
        let (diff, lo, hi) = (
            self.difference("diff"),
            self.number("diff_lo"),
            self.difference("diff_hi"),
        );
        let (fallen, fallen_lo, fallen_hi) = (
            self.difference("-diff"),
            self.number("-diff_hi"),
            self.difference("-diff_lo"),
        );
        let base = literal(&self.baseline);
        let because = self.because();
        let winner = said(
            words(
                "{} more, between {} and {}: beyond chance. ",
                "高出 {}，在 {} 至 {}之间，不是偶然。",
            ),
            &[&diff, &lo, &hi],
        );
        let loser = said(
            words(
                "{} less, between {} and {}: beyond chance. ",
                "低了 {}，在 {} 至 {}之间，不是偶然。",
            ),
            &[&fallen, &fallen_lo, &fallen_hi],
        );
        let open = said(
            words(
                "The difference of {} may be chance: it lies between {} and {}. Keep running.",
                "相差 {}，可能只是偶然（在 {} 至 {}之间），请继续观察。",
            ),
            &[&diff, &lo, &hi],
        );
        let cases = [
            (
                "is_baseline AND n = 0".to_owned(),
                said(
                    words("The baseline has no results yet.", "基线还没有结果。"),
                    &[],
                ),
            ),
            (
                "is_baseline".to_owned(),
                format!(
                    "{} || {}",
                    self.own_rate(),
                    said(
                        words("The others are compared with it.", "其他组与它比较。"),
                        &[],
                    )
                ),
            ),
            (
                "decision = 'invalid_srm'".to_owned(),
                said(
                    words(
                        "The arms don't have the sizes that they should (p < 0.001): the assignment is broken, and nothing here can be believed. Find out who gets lost on the way into an arm.",
                        "各组人数与设定的比例不符（p < 0.001）：分组出了问题，这里的结果都不可信。请先查清谁没有进入应进的组。",
                    ),
                    &[],
                ),
            ),
            (
                "status = 'no_control'".to_owned(),
                said(
                    words(
                        "There is nothing to compare with: the baseline {} has no results.",
                        "无从比较：基线 {} 没有结果。",
                    ),
                    &[&base],
                ),
            ),
            (
                "n = 0".to_owned(),
                said(
                    words(
                        "No result is known yet: nobody had the whole time.",
                        "还没有结果：没有一条走完了规定的时间。",
                    ),
                    &[],
                ),
            ),
            (
                "status = 'drift'".to_owned(),
                format!(
                    "{} || {}",
                    self.rates(),
                    said(
                        words(
                            "Early and late results contradict each other, so there is no one difference. Compare by period.",
                            "前后结果相互矛盾，差异并不稳定。请分时段比较。",
                        ),
                        &[],
                    )
                ),
            ),
            (
                "status IN ('insufficient_history', 'no_variation')".to_owned(),
                format!(
                    "{} || {}",
                    self.rates(),
                    said(
                        words(
                            "Too few results to tell anything. Keep running.",
                            "结果太少，还看不出什么，请继续观察。"
                        ),
                        &[],
                    )
                ),
            ),
            (
                "decision = 'no_practical_difference'".to_owned(),
                format!(
                    "{} || {}",
                    self.rates(),
                    said(
                        words(
                            "The difference lies between {} and {}, too little to matter: either will do.",
                            "差异在 {} 至 {}之间，小到没有实际意义，用哪个都行。",
                        ),
                        &[&lo, &hi],
                    )
                ),
            ),
            (
                "decision = 'mix_only'".to_owned(),
                format!(
                    "{} || {}",
                    self.rates(),
                    said(
                        words(
                            "The difference of {} comes from the kind of leads it gets, not from {} itself: at an equal mix of {} it is {} (between {} and {}).",
                            "相差 {}，但来自线索构成，而不是 {} 本身：在相同的 {} 构成下只差 {}（在 {} 至 {}之间）。",
                        ),
                        &self
                            .mix_values(&diff)
                            .iter()
                            .map(String::as_str)
                            .collect::<Vec<_>>(),
                    )
                ),
            ),
            (
                "decision = 'winner'".to_owned(),
                format!("{} || {winner} || {because}", self.rates()),
            ),
            (
                "decision = 'loser'".to_owned(),
                format!("{} || {loser} || {because}", self.rates()),
            ),
            (
                "side <> 0".to_owned(),
                format!(
                    "{} || {}",
                    self.rates(),
                    said(
                        words(
                            "The difference of {} is beyond chance as it is, but at an equal mix of {} it is {} (between {} and {}), which may be chance. Keep running.",
                            "表面上相差 {}，不是偶然；但在相同的 {} 构成下相差 {}（在 {} 至 {}之间），可能只是偶然，请继续观察。",
                        ),
                        &self
                            .equal_mix_values(&diff)
                            .iter()
                            .map(String::as_str)
                            .collect::<Vec<_>>(),
                    )
                ),
            ),
        ];
        let cases: Vec<String> = cases
            .iter()
            .map(|(condition, text)| format!("WHEN {condition} THEN {text}"))
            .collect();
        format!(
            "CASE {} ELSE {} || {open} END || {}",
            cases.join("\n    "),
            self.rates(),
            self.caution()
        )
    }

    /// Whether it is the arm's doing.
    fn because(&self) -> String {
        if self.is_assigned {
            let random = words(
                "Arms were assigned at random, so the difference is their doing.",
                "分组是随机的，所以差异是它带来的（因果）。",
            );
            return self.language.sql(random, &[]);
        }
        let name = literal(self.results.arm_name());
        let associated = self.language.sql(
            words(
                "This is association, not cause: nobody assigned {} at random.",
                "这是相关，不是因果：{} 不是随机分配的。",
            ),
            &[&name],
        );
        if self.results.strata().is_empty() {
            return associated;
        }
        let values = self.equal_mix_values("");
        let mixed = self.language.sql(
            words(
                " At an equal mix of {} the difference is {} (between {} and {}).",
                "在相同的 {} 构成下相差 {}（在 {} 至 {}之间）。",
            ),
            &values
                .iter()
                .skip(1)
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
        format!("{associated} || coalesce({mixed}, '')")
    }

    /// The difference, the names of the mix, and the difference at an equal one with its limits.
    fn equal_mix_values(&self, diff: &str) -> Vec<String> {
        let mut values = vec![diff.to_owned(), literal(&self.results.strata().join(", "))];
        values.extend([
            self.difference("adjusted_diff"),
            self.number("adjusted_lo"),
            self.difference("adjusted_hi"),
        ]);
        values
    }

    /// As [`Test::equal_mix_values`], with what the arms are called.
    fn mix_values(&self, diff: &str) -> Vec<String> {
        let mut values = self.equal_mix_values(diff);
        values.insert(1, literal(self.results.arm_name()));
        values
    }

    /// What to mind, where journeys had unequal times.
    fn caution(&self) -> String {
        if self.results.has_equal_times() {
            return "''".to_owned();
        }
        let text = self.language.sql(
            words(
                " Those still open count as not converted: give age to compare at equal age.",
                "还在进行的按未转化计：请给出 age，按相同时长比较。",
            ),
            &[],
        );
        format!("CASE WHEN status = 'immature' THEN {text} ELSE '' END")
    }

    /// The arm's rate and the baseline's.
    fn rates(&self) -> String {
        let base = literal(&self.baseline);
        let (own, of_base) = (self.value("mean"), self.value("base_mean"));
        let (n, base_n) = ("CAST(n AS text)", "CAST(base_n AS text)");
        match (self.results.of_values(), self.results.goal()) {
            (true, _) => self.language.sql(
                words(
                    "{}: {} each (of {}), {}: {} each (of {}). ",
                    "{}：平均每个 {}（共 {} 个），{}：平均 {}（共 {} 个）。",
                ),
                &["arm", &own, n, &base, &of_base, base_n],
            ),
            (false, Some(goal)) => self.language.sql(
                words(
                    "{}: {} of {} reach {}, {}: {} of {}. ",
                    "{}：{}（{} 个）达到 {}，{}：{}（{} 个）。",
                ),
                &["arm", &own, n, &literal(goal), &base, &of_base, base_n],
            ),
            (false, None) => self.language.sql(
                words(
                    "{}: {} of {} succeed, {}: {} of {}. ",
                    "{}：{}（{} 个）成功，{}：{}（{} 个）。",
                ),
                &["arm", &own, n, &base, &of_base, base_n],
            ),
        }
    }

    /// The baseline's own rate.
    fn own_rate(&self) -> String {
        let (own, n) = (self.value("mean"), "CAST(n AS text)");
        match (self.results.of_values(), self.results.goal()) {
            (true, _) => self.language.sql(
                words("{}: {} each (of {}). ", "{}：平均每个 {}（共 {} 个）。"),
                &["arm", &own, n],
            ),
            (false, Some(goal)) => self.language.sql(
                words("{}: {} of {} reach {}. ", "{}：{}（{} 个）达到 {}。"),
                &["arm", &own, n, &literal(goal)],
            ),
            (false, None) => self.language.sql(
                words("{}: {} of {} succeed. ", "{}：{}（{} 个）成功。"),
                &["arm", &own, n],
            ),
        }
    }

    /// SQL of the text of a rate or a mean.
    fn value(&self, value: &str) -> String {
        match self.results.of_values() {
            true => fixed(value, 2),
            false => format!("({} || '%')", percent(value)),
        }
    }

    /// SQL of the text of a difference without its unit.
    fn number(&self, value: &str) -> String {
        match self.results.of_values() {
            true => fixed(value, 2),
            false => percent(value),
        }
    }

    /// SQL of the text of a difference.
    fn difference(&self, value: &str) -> String {
        let number = self.number(value);
        if self.results.of_values() {
            return number;
        }
        let unit = self.language.of(words(" points", " 个百分点"));
        format!("({number} || '{unit}')")
    }
}
