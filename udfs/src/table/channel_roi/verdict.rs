//! What `channel_roi` says of a channel, in words.

use super::super::wording::fixed;
use super::Roi;
use crate::definition::metric::Words;

const PAYS: Words = Words {
    en: "{} pays: {} spent on {} leads brought {} of margin. Each 1 spent brought back {}, and with 95% confidence {} to {}.",
    zh: "{}划算：花费 {}，获得 {} 条线索，带来毛利 {}。每花 1 收回 {}，95% 置信区间为 {} 至 {}。",
};
const LOSES: Words = Words {
    en: "{} loses money: {} spent on {} leads brought {} of margin. Each 1 spent brought back only {}, and with 95% confidence {} to {}.",
    zh: "{}亏本：花费 {}，获得 {} 条线索，带来毛利 {}。每花 1 只收回 {}，95% 置信区间为 {} 至 {}。",
};
const UNCLEAR: Words = Words {
    en: "Whether {} pays isn't clear: {} spent on {} leads brought {} of margin. Each 1 spent brought back {}, but anything from {} to {} fits the data.",
    zh: "{}是否划算还不明确：花费 {}，获得 {} 条线索，带来毛利 {}。每花 1 收回 {}，但从 {} 到 {} 都与数据相符。",
};
const FEW_WINS: Words = Words {
    en: "{} has {} wins, too few to say how sure its return is: {} spent on {} leads brought {} of margin.",
    zh: "{}只有 {} 单成交，太少，无法判断回报有多可靠：花费 {}，获得 {} 条线索，带来毛利 {}。",
};
const NO_WINS: Words = Words {
    en: "{} has brought no win: {} spent on {} leads.",
    zh: "{}没有带来成交：花费 {}，获得 {} 条线索。",
};
const NO_LEADS: Words = Words {
    en: "{} has brought no lead: {} spent.",
    zh: "{}没有带来线索：花费 {}。",
};
const NO_VALUE: Words = Words {
    en: "What the wins of {} are worth isn't known, because the funnel has no VALUE: {} spent on {} leads.",
    zh: "漏斗没有定义 VALUE，无法知道{}的成交金额：花费 {}，获得 {} 条线索。",
};
const NO_COST: Words = Words {
    en: "No cost of {} is known, so it has no return to compare: {} leads brought {} of margin.",
    zh: "{}没有成本记录，无法比较回报：{} 条线索带来毛利 {}。",
};
const WAIT: Words = Words {
    en: "It is too early to judge {}: none of its {} leads has had its whole time.",
    zh: "现在判断{}还太早：它的 {} 条线索都还没走完周期。",
};
const OPEN: Words = Words {
    en: "It is too early to judge {}: {} of its journeys are still open, and their revenue isn't in. With age => 90 all leads are compared at the same age.",
    zh: "现在判断{}还太早：还有 {} 个旅程在进行中，收入尚未计入。用 age => 90 可以按相同时长比较。",
};
const PAYBACK: Words = Words {
    en: " The cost was earned back by what was won within {} days of a lead's start.",
    zh: "线索开始后 {} 天内的成交已收回成本。",
};
const MORE_PAYS: Words = Words {
    en: " In weeks with 1000 more of spend, {} more leads came ({} to {}), at the average lead worth {} of margin: more budget looks worth a trial.",
    zh: "每周多花 1000 时，多来 {} 条线索（{} 至 {}），按平均每条线索计值毛利 {}：值得尝试增加预算。",
};
const MORE_LOSES: Words = Words {
    en: " In weeks with 1000 more of spend, only {} more leads came ({} to {}), at the average lead worth {} of margin: more budget would hardly earn itself back.",
    zh: "每周多花 1000 时，只多来 {} 条线索（{} 至 {}），按平均每条线索计值毛利 {}：增加预算很难收回。",
};
const CANNOT_TELL: Words = Words {
    en: " What more budget would bring, the data can't tell: in weeks with 1000 more of spend, {} more leads came, but {} to {} fit the data.",
    zh: "增加预算会带来什么，数据无法回答：每周多花 1000 时，多来 {} 条线索，但 {} 至 {} 都与数据相符。",
};
const SAME_SPEND: Words = Words {
    en: " What more budget would bring, the data can't tell: weekly spend varied too little, or for too few weeks.",
    zh: "增加预算会带来什么，数据无法回答：每周花费变化太小，或周数太少。",
};
const YOUNG: Words = Words {
    en: " Left out, because their time isn't over: {} leads and {} of spend.",
    zh: "未计入周期未结束的 {} 条线索和 {} 花费。",
};

impl Roi {
    /// SQL of the verdict: whether the channel paid, what more budget would do, and what isn't in yet.
    pub(super) fn verdict(&self) -> String {
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let [cost, margin, leads, won] = ["cost", "margin", "leads", "won_journeys"].map(whole);
        // What comes back for each 1 is the return and the 1.
        let [roi, lo, hi] = ["roi", "roi_lo", "roi_hi"].map(|part| decimal(&format!("1 + {part}")));
        let numbers = ["__channel", &cost, &leads, &margin, &roi, &lo, &hi];
        let spent = ["__channel", &cost, &leads];
        let immature = match self.conversion.has_equal_times(&self.call) {
            true => say(WAIT, &["__channel", &whole("entered")]),
            false => say(OPEN, &["__channel", &whole("open_journeys")]),
        };
        let judgement = choice(&[
            ("status = 'immature'", immature),
            (
                "status = 'no_cost'",
                say(
                    NO_COST,
                    &["__channel", &leads, &format!("coalesce({margin}, '0')")],
                ),
            ),
            (
                "status = 'no_data' AND journeys = 0",
                say(NO_LEADS, &spent[..2]),
            ),
            ("status = 'no_data'", say(NO_VALUE, &spent)),
            ("status = 'no_events'", say(NO_WINS, &spent)),
            (
                "status = 'insufficient_history'",
                say(FEW_WINS, &["__channel", &won, &cost, &leads, &margin]),
            ),
            ("decision = 'pays'", say(PAYS, &numbers)),
            ("decision = 'loses'", say(LOSES, &numbers)),
            ("true", say(UNCLEAR, &numbers)),
        ]);
        let payback = choice(&[(
            "status IN ('ok', 'insufficient_history')",
            say(PAYBACK, &[&whole("ceil(payback_days)")]),
        )]);
        let [more, from, to] = ["marginal_leads", "marginal_lo", "marginal_hi"].map(decimal);
        let worth = whole("marginal_leads * __per_lead");
        let marginal = [&more, &from, &to, &worth].map(String::as_str);
        let budget = choice(&[
            ("NOT coalesce(cost > 0, false)", "''".to_owned()),
            ("budget = 'more_pays'", say(MORE_PAYS, &marginal)),
            ("budget = 'more_loses'", say(MORE_LOSES, &marginal)),
            (
                "marginal_leads IS NOT NULL",
                say(CANNOT_TELL, &marginal[..3]),
            ),
            ("true", say(SAME_SPEND, &[])),
        ]);
        let young = choice(&[(
            "status <> 'immature' AND (young_leads > 0 OR young_cost > 0)",
            say(
                YOUNG,
                &[&whole("young_leads"), &whole("coalesce(young_cost, 0.0)")],
            ),
        )]);
        format!(
            "{judgement} || coalesce({payback}, '') || coalesce({budget}, '') || coalesce({young}, '')"
        )
    }
}

/// SQL of the first text whose condition holds.
fn choice(texts: &[(&str, String)]) -> String {
    let cases: Vec<String> = texts
        .iter()
        .map(|(condition, text)| format!("WHEN {condition} THEN {text}"))
        .collect();
    format!("CASE {} END", cases.join(" "))
}

/// SQL of a number's text without decimals.
fn whole(number: &str) -> String {
    format!("CAST(CAST(round({number}) AS bigint) AS text)")
}

/// SQL of a number's text with one decimal, `12.0` as `12`.
fn decimal(number: &str) -> String {
    format!("regexp_replace({}, '\\.0$', '')", fixed(number, 1))
}
