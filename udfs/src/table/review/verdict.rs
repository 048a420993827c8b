//! A review in words, as SQL over its numbers.

use super::super::wording::{fixed, percent, probability};
use super::ReviewCall;
use crate::definition::metric::Words;
use crate::definition::text::literal;

const PROVEN: Words = Words {
    en: "It worked: ",
    zh: "有效：",
};
const HARMFUL: Words = Words {
    en: "It did harm: ",
    zh: "有害：",
};
const NO_EFFECT: Words = Words {
    en: "No effect can be seen: ",
    zh: "看不出效果：",
};
const TOO_EARLY: Words = Words {
    en: "Too early to say: ",
    zh: "为时尚早：",
};
const WEAK: Words = Words {
    en: "Weak evidence: ",
    zh: "弱证据：",
};

/// value, stage, next stage, k, n.
const RATE: Words = Words {
    en: "after the change {} of those that entered {} reached {} ({} of {})",
    zh: "变更后有 {} 从“{}”到达“{}”（{} 个，共 {} 个）",
};
/// value, stage, next stage, n.
const DAYS: Words = Words {
    en: "after the change it took {} from {} to {} (mean of the {} that went on)",
    zh: "变更后平均用时 {}（从“{}”到“{}”，共 {} 个）",
};
/// expected, effect, lo, hi.
const EXPECTED: Words = Words {
    en: ", where {} was to be expected without it. The difference is {}, with 95% confidence between {} and {}.",
    zh: "，若无变更预计为 {}，相差 {}，95% 置信区间为 {} 至 {}。",
};
const EXPECTED_EXACTLY: Words = Words {
    en: ", where {} was to be expected without it: all had the same outcome, so chance can't be judged.",
    zh: "，若无变更预计为 {}：结果全部相同，无法判断是否偶然。",
};
const NOTHING_TO_COMPARE: Words = Words {
    en: ", and nobody was there before the change to compare with.",
    zh: "，但变更前没有可比的对象。",
};
/// n, rate before and after of the control.
const BY_CONTROL: Words = Words {
    en: " Expected is what the segment was before, moved as the others moved: they went from {} to {} in the same weeks.",
    zh: " 预计值 = 该群体变更前的水平，加上同期其他群体的变化（由 {} 到 {}）。",
};
/// weeks.
const BY_TREND: Words = Words {
    en: " Expected is what the trend of the {} weeks before leads to.",
    zh: " 预计值为变更前 {} 周趋势的延续。",
};
/// value before.
const BY_BEFORE: Words = Words {
    en: " Expected is only what was before ({}), so whatever else happened at that time is in it.",
    zh: " 预计值只是变更前的水平（{}），同期的其他影响也包含在内。",
};
const BY_OTHERS: Words = Words {
    en: " The segment had nobody before the change; expected is what the others did after it ({}), and unless chance decided who is in it, they may differ by more than the change.",
    zh: " 该群体在变更前不存在；预计值为其他群体变更后的水平（{}），除非是随机分组，两者的差别未必来自变更。",
};
/// left out.
const NOBODY_YET: Words = Words {
    en: "{} entered {} since the change, and none has had its full time yet.",
    zh: "变更后有 {} 个进入“{}”，都还没有走完应有的观察时间。",
};
/// weeks in, weeks wanted.
const WEEKS_MISSING: Words = Words {
    en: " {} of {} weeks after the change are in.",
    zh: " 变更后的数据已有 {} 周，共需 {} 周。",
};
const LOW_BEFORE: Words = Words {
    en: "the last 4 weeks before the change were worse than those before them, beyond chance; such a low mends by itself (regression to the mean), which can't be told from the change",
    zh: "变更前的最后 4 周明显低于更早的水平；低谷往往会自行回升（均值回归），与变更的作用无法区分",
};
const WAS_WORST: Words = Words {
    en: "it was worse than others when it was chosen, so that a part of the gain would have come by itself (regression to the mean)",
    zh: "选择改进它时它正处于较差水平，部分改善可能本来就会发生（均值回归）",
};
const LOW_UNSEEN: Words = Words {
    en: "it was chosen because it was low, and with less than 8 weeks before the change nobody can see whether that was a passing low (regression to the mean)",
    zh: "选择改进它是因为它处于低位，而变更前不足 8 周，无法看出那是否只是暂时的低谷（均值回归）",
};
/// adjusted effect.
const BY_MIX: Words = Words {
    en: "at an equal mix of dimensions the difference is {}, which lies outside of the interval",
    zh: "在维度构成相同的情况下差值为 {}，不在置信区间内",
};
const APART: Words = Words {
    en: "the others moved otherwise before the change already, so they are no control (p {})",
    zh: "变更前其他群体的走势就已不同，不能作为对照（p {}）",
};
const UNTESTED: Words = Words {
    en: "there are less than 3 weeks before the change, so nobody knows whether the others moved alike",
    zh: "变更前不足 3 周，无法检验其他群体的走势是否相同",
};
const TOO_FEW: Words = Words {
    en: "there are too few to see even a change by half",
    zh: "数据太少，即使变化达到一半也看不出来",
};
/// left out.
const LEFT_OUT: Words = Words {
    en: "{} that entered after the change are left out, because they haven't had their full time yet",
    zh: "变更后进入的 {} 个尚未走完观察时间，未计入",
};
const WEAK_METHOD: Words = Words {
    en: "weak evidence: before and after alone",
    zh: "弱证据：仅为前后对比",
};
const WEAK_GAP: Words = Words {
    en: "weak evidence: two groups after the change alone",
    zh: "弱证据：仅为变更后两个群体的对比",
};

/// SQL of a mean of the metric: a percentage, or days.
fn level(review: &ReviewCall, value: &str) -> String {
    let days = review.lang.sql(
        Words {
            en: "{} days",
            zh: "{} 天",
        },
        &[&fixed(value, 1)],
    );
    let percent = review.lang.sql(
        Words {
            en: "{}%",
            zh: "{}%",
        },
        &[&percent(value)],
    );
    format!("CASE WHEN metric = 'stage_days' THEN {days} ELSE {percent} END")
}

/// SQL of a difference of two of them, with its sign and without its unit.
fn signed(value: &str) -> String {
    // Zero added: -0.0 is 0.0 then.
    let number = format!(
        "(round(CASE WHEN metric = 'stage_days' THEN {value} ELSE 100.0 * {value} END, 1) + 0.0)"
    );
    format!(
        "(CASE WHEN {number} > 0.0 THEN '+' ELSE '' END || {})",
        fixed(&number, 1)
    )
}

/// SQL of a difference with its unit.
fn gap(review: &ReviewCall, value: &str) -> String {
    let unit = |words: Words| review.lang.sql(words, &[&signed(value)]);
    let days = unit(Words {
        en: "{} days",
        zh: "{} 天",
    });
    let points = unit(Words {
        en: "{} points",
        zh: "{} 个百分点",
    });
    format!("CASE WHEN metric = 'stage_days' THEN {days} ELSE {points} END")
}

fn number(value: &str) -> String {
    format!("CAST({value} AS text)")
}

/// SQL of the verdict.
pub fn verdict(review: &ReviewCall) -> String {
    let lang = review.lang;
    let headline = [
        ("proven", PROVEN),
        ("harmful", HARMFUL),
        ("no_effect", NO_EFFECT),
        ("too_early", TOO_EARLY),
        ("weak_evidence", WEAK),
    ]
    .map(|(decision, words)| format!("WHEN '{decision}' THEN {}", lang.sql(words, &[])));
    let stage = literal(review.stage());
    let to_stage = literal(review.to_stage());
    let reached = format!(
        "CASE WHEN metric = 'win_rate' THEN {} ELSE {to_stage} END",
        literal(review.last_stage())
    );
    let after = level(review, "did['after']");
    let (k, n) = (number("k_after"), number("n_after"));
    let observed = format!(
        "CASE WHEN metric = 'stage_days' THEN {} ELSE {} END",
        lang.sql(DAYS, &[&after, &stage, &to_stage, &n]),
        lang.sql(RATE, &[&after, &stage, &reached, &k, &n]),
    );
    let expected = level(review, "counterfactual");
    let compared = format!(
        "CASE WHEN effect IS NULL THEN {} WHEN lo IS NULL THEN {} ELSE {} END",
        lang.sql(NOTHING_TO_COMPARE, &[]),
        lang.sql(EXPECTED_EXACTLY, &[&expected]),
        lang.sql(
            EXPECTED,
            &[
                &expected,
                &gap(review, "effect"),
                &signed("lo"),
                &gap(review, "hi"),
            ],
        ),
    );
    let because = format!(
        "CASE comparison WHEN 'did' THEN {} WHEN 'its' THEN {} WHEN 'change' THEN {} WHEN 'gap' THEN {} ELSE '' END",
        lang.sql(
            BY_CONTROL,
            &[
                &level(review, "did['control_before']"),
                &level(review, "did['control_after']"),
            ],
        ),
        lang.sql(BY_TREND, &[&number("its['points_before']")]),
        lang.sql(BY_BEFORE, &[&level(review, "did['before']")]),
        lang.sql(BY_OTHERS, &[&level(review, "did['control_after']")]),
    );
    let missing = format!(
        "CASE WHEN decision = 'too_early' THEN {} ELSE '' END",
        lang.sql(
            WEEKS_MISSING,
            &[&number("ripe_weeks"), &literal(&review.weeks.to_string())],
        )
    );
    let pretrend = probability("did['pretrend_p']");
    let against = format!(
        "CASE WHEN decision <> 'weak_evidence' THEN '' {} ELSE '' END",
        [
            ("gained AND low_before", lang.sql(LOW_BEFORE, &[])),
            ("gained AND low_unseen", lang.sql(LOW_UNSEEN, &[])),
            ("apart", lang.sql(APART, &[&pretrend])),
            ("by_mix", lang.sql(BY_MIX, &[&gap(review, "mix_adjusted")])),
            ("untested", lang.sql(UNTESTED, &[])),
            ("too_few", lang.sql(TOO_FEW, &[])),
        ]
        .map(|(condition, text)| format!(
            "WHEN {condition} THEN {}",
            lang.sql(
                Words {
                    en: " But {}.",
                    zh: " 但{}。"
                },
                &[&text],
            )
        ))
        .join(" ")
    );
    format!(
        "CASE decision {} END || CASE WHEN n_after = 0 THEN {} ELSE {observed} || {compared} || {because} || {missing} || {against} END",
        headline.join(" "),
        lang.sql(NOBODY_YET, &[&number("left_out"), &stage]),
    )
}

/// SQL of what else there is to know; NULL where there is nothing.
pub fn notes(review: &ReviewCall) -> String {
    let lang = review.lang;
    let notes = [
        ("comparison = 'change'", lang.sql(WEAK_METHOD, &[])),
        ("comparison = 'gap'", lang.sql(WEAK_GAP, &[])),
        ("low_before", lang.sql(LOW_BEFORE, &[])),
        ("low_unseen AND NOT low_before", lang.sql(LOW_UNSEEN, &[])),
        (
            "was_worst AND NOT low_before AND NOT low_unseen",
            lang.sql(WAS_WORST, &[]),
        ),
        (
            "apart",
            lang.sql(APART, &[&probability("did['pretrend_p']")]),
        ),
        ("untested", lang.sql(UNTESTED, &[])),
        ("too_few", lang.sql(TOO_FEW, &[])),
        ("by_mix", lang.sql(BY_MIX, &[&gap(review, "mix_adjusted")])),
        ("left_out > 0", lang.sql(LEFT_OUT, &[&number("left_out")])),
    ];
    let notes = notes.map(|(condition, text)| format!("CASE WHEN {condition} THEN {text} END"));
    let separator = lang.of(Words {
        en: "; ", zh: "；"
    });
    format!(
        "nullif(concat_ws({}, {}), '')",
        literal(separator),
        notes.join(", ")
    )
}

/// SQL of the numbers behind it, as JSON.
pub fn evidence() -> String {
    let numbers = [
        (
            "standard_error",
            "CASE comparison WHEN 'did' THEN did['se'] WHEN 'its' THEN its['se'] END",
        ),
        ("pretrend", "did['pretrend']"),
        ("pretrend_p", "did['pretrend_p']"),
        ("trend_before", "its['slope']"),
        ("level_change", "its['level']"),
        ("trend_change", "its['slope_change']"),
        ("autocorrelation", "its['autocorrelation']"),
        ("mix_effect", "mix_effect"),
    ];
    let pairs = numbers
        .map(|(name, value)| format!("'\"{name}\":' || coalesce({}, 'null')", fixed(value, 6)));
    format!(
        "'{{\"comparison\":' || coalesce('\"' || comparison || '\"', 'null') || ',\"clusters\":' || coalesce(CAST(did['clusters'] AS text), 'null') || ',' || {} || '}}'",
        pairs.join(" || ',' || ")
    )
}
