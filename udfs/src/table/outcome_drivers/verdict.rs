//! What a value's counts say, in a code and in a sentence.

use super::super::language::Language;
use super::super::wording::{count, percent, probability, ratio};
use crate::definition::metric::Words;

/// The decision, over `status`, `hidden_reason`, `q` and `odds`.
pub(super) const DECISION: &str = "CASE WHEN status <> 'ok' THEN status WHEN hidden_reason IS NOT NULL THEN 'hidden' \
     WHEN q < 0.05 AND odds['odds_ratio'] > 1 THEN 'helps' WHEN q < 0.05 THEN 'hurts' ELSE 'no_difference' END";

/// The sentence, over the columns of the result.
pub(super) fn verdict(language: Language) -> String {
    let say = |words: Words, values: &[&str]| language.sql(words, values);
    let share = |won: &str, of: &str| percent(&format!("{won} / CAST({of} AS double precision)"));
    let rates = say(
        Words {
            en: "With {} = {}, {} of {} won ({}%), of the others {} of {} ({}%).",
            zh: "{} = {} 的商机 {} / {} 成交（{}%），其余 {} / {}（{}%）。",
        },
        &[
            "factor",
            "value",
            &count("with_win"),
            &count("with_n"),
            &share("with_win", "with_n"),
            &count("without_win"),
            &count("without_n"),
            &share("without_win", "without_n"),
        ],
    );
    let odds = [
        ratio("odds['odds_ratio']"),
        ratio("odds['lo']"),
        ratio("odds['hi']"),
        probability("q"),
    ];
    let odds: Vec<&str> = odds.iter().map(String::as_str).collect();
    let beyond = say(
        Words {
            en: " The odds of winning are {} times as high (95% interval {} to {}), which is beyond chance (q {}). They go together; that one causes the other isn't shown.",
            zh: "成交几率是其余的 {} 倍（95% 区间 {} 到 {}），超出偶然（q {}）。两者相关，但并不证明因果。",
        },
        &odds,
    );
    let within = say(
        Words {
            en: " The odds of winning are {} times as high (95% interval {} to {}), which may be chance (q {}).",
            zh: "成交几率是其余的 {} 倍（95% 区间 {} 到 {}），可能只是偶然（q {}）。",
        },
        &odds,
    );
    let few = say(
        Words {
            en: " Too few have it to judge.",
            zh: "数量太少，无法判断。",
        },
        &[],
    );
    let everybody = say(
        Words {
            en: "All {} deals have {} = {}, so that there is nothing to compare it with.",
            zh: "全部 {} 个商机都是 {} = {}，没有可比较的对象。",
        },
        &[&count("with_n"), "factor", "value"],
    );
    let one_outcome = say(
        Words {
            en: "{} won and {} lost: with one outcome there is nothing to compare.",
            zh: "成交 {} 个，流失 {} 个：只有一种结果，无法比较。",
        },
        &[&count("wins"), &count("losses")],
    );
    let after = say(
        Words {
            en: "{} is written down when a deal is lost: winners aren't given it, and it can't foretell a loss. loss_reasons() compares it.",
            zh: "“{}”是在流失时记录的：成交的商机不会有它，也不能用来预示流失。请用 loss_reasons() 比较。",
        },
        &["value"],
    );
    format!(
        "CASE status WHEN 'no_events' THEN {one_outcome} WHEN 'no_control' THEN {after} WHEN 'no_variation' THEN {everybody} \
         ELSE {rates} || CASE WHEN hidden_reason IS NOT NULL THEN {few} WHEN q < 0.05 THEN {beyond} ELSE {within} END END"
    )
}
