//! What a stage's gain says, in a code and in a sentence.

use super::super::wording::{count, fixed, percent, quantity};
use super::{Benchmark, Bottleneck, Value};
use crate::definition::metric::Words;
use crate::definition::text::literal;

/// The decision, over `gain_status`, `rank`, `gain` and `gain_lo`.
pub(super) fn decision() -> String {
    "CASE WHEN gain_status = 'product_zero' THEN 'blocked' WHEN gain_status <> 'ok' THEN gain_status \
     WHEN gain_lo > 0 AND rank = 1 THEN 'push_first' WHEN gain_lo > 0 THEN 'push' WHEN gain > 0 THEN 'not_sure' ELSE 'at_benchmark' END"
        .to_owned()
}

const RATE_BENCHMARKS: [Words; 4] = [
    Words {
        en: "the target is {}%",
        zh: "目标为 {}%",
    },
    Words {
        en: "the best segment ({}) reaches at least {}%, chance taken out",
        zh: "最好的分组（{}）去除偶然因素后至少达到 {}%",
    },
    Words {
        en: "in the period before ({}) it was {}%",
        zh: "上一周期（{}）为 {}%",
    },
    Words {
        en: "the benchmark ({}) is {}%",
        zh: "基准（{}）为 {}%",
    },
];

const DAYS_BENCHMARKS: [Words; 4] = [
    Words {
        en: "the target is {} days",
        zh: "目标为 {} 天",
    },
    Words {
        en: "the fastest segment ({}) takes {} at most (its upper limit)",
        zh: "最快的分组（{}）最多 {} 天（区间上限）",
    },
    Words {
        en: "in the period before ({}) it took {}",
        zh: "上一周期（{}）为 {} 天",
    },
    Words {
        en: "the benchmark ({}) is {} days",
        zh: "基准（{}）为 {} 天",
    },
];

impl Bottleneck {
    /// What the stage is held against, in words.
    fn benchmark_text(&self, words: &[Words; 4], value: &str) -> String {
        let [target, best, previous, table] = *words;
        let source = "benchmark_source";
        match &self.benchmark {
            Benchmark::Target => self.language.sql(target, &[value]),
            Benchmark::BestSegment => {
                let alike = literal(self.language.of(Words {
                    en: "the segments differ by no more than chance",
                    zh: "各分组之间的差异不超出偶然",
                }));
                format!(
                    "CASE benchmark_status WHEN 'no_heterogeneity' THEN {alike} ELSE {} END",
                    self.language.sql(best, &[source, value])
                )
            }
            Benchmark::Previous(_) => self.language.sql(previous, &[source, value]),
            Benchmark::Table(_) => self.language.sql(table, &[source, value]),
        }
    }

    /// The verdict of a rate.
    pub(super) fn verdict(&self, decision: &str) -> String {
        let unit = match self.value {
            Value::Wins | Value::Days => Words {
                en: "more wins",
                zh: "单成交",
            },
            Value::Amount => Words {
                en: "more in amount",
                zh: "成交金额",
            },
            Value::Margin => Words {
                en: "more in margin",
                zh: "毛利",
            },
        };
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let rates = say(
            Words {
                en: "{}: {} of {} go on ({}%), and {}.",
                zh: "{}：{} / {} 进入下一阶段（{}%），{}。",
            },
            &[
                "stage",
                &count("k"),
                &count("n"),
                &percent("rate"),
                &self.benchmark_text(&RATE_BENCHMARKS, &percent("benchmark")),
            ],
        );
        let passed = percent(&format!("CAST({} AS double precision)", self.pass_through));
        let unit_text = literal(self.language.of(unit));
        let brings = say(
            Words {
                en: " Closing the gap would bring {} {} (95% interval {} to {}), if {}% of it reaches the end.",
                zh: "补上差距可多带来 {} {}（95% 区间 {} 到 {}），按其中 {}% 传到最后计算。",
            },
            &[
                &quantity("gain"),
                &unit_text,
                &quantity("gain_lo"),
                &quantity("gain_hi"),
                &passed,
            ],
        );
        self.sentence(decision, &rates, &brings, "rate")
    }

    /// The verdict of a time.
    pub(super) fn days_verdict(&self, decision: &str) -> String {
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let days = |value: &str| fixed(value, 1);
        let times = say(
            Words {
                en: "{}: deals stay {} days on average (of at most {}), and {}.",
                zh: "{}：平均停留 {} 天（最长按 {} 天计），{}。",
            },
            &[
                "stage",
                &days("days"),
                &days(&self.tau_sql()),
                &self.benchmark_text(&DAYS_BENCHMARKS, &days("benchmark")),
            ],
        );
        let brings = say(
            Words {
                en: " Closing the gap would save {} days a deal (95% interval {} to {}).",
                zh: "补上差距每单可节省 {} 天（95% 区间 {} 到 {}）。",
            },
            &[&days("gain"), &days("gain_lo"), &days("gain_hi")],
        );
        self.sentence(decision, &times, &brings, "days")
    }

    fn sentence(&self, decision: &str, measured: &str, brings: &str, own: &str) -> String {
        let say = |words: Words, values: &[&str]| self.language.sql(words, values);
        let first = say(
            Words {
                en: "{}{} It is the largest gain of all stages: push here next.",
                zh: "{}{}这是各阶段中收益最大的：下一步先推动这里。",
            },
            &[measured, brings],
        );
        let push = say(
            Words {
                en: "{}{} That is beyond chance, but other stages come first.",
                zh: "{}{}差距超出偶然，但其他阶段应优先。",
            },
            &[measured, brings],
        );
        let unsure = say(
            Words {
                en: "{}{} The interval reaches 0: the gap may be chance.",
                zh: "{}{}区间包含 0：差距可能只是偶然。",
            },
            &[measured, brings],
        );
        let fine = say(
            Words {
                en: "{} Nothing is to be gained here.",
                zh: "{}这里没有可提升的空间。",
            },
            &[measured],
        );
        let blocked = say(
            Words {
                en: "{}: another stage passes nobody, so that more deals here would win nothing. Open that one first.",
                zh: "{}：另有阶段无人通过，此处再多商机也不会成交，请先打通那个阶段。",
            },
            &["stage"],
        );
        let nobody = say(
            match own {
                "rate" => Words {
                    en: "{}: no deal whose time is over came this far, so nothing is known of it.",
                    zh: "{}：还没有到期的商机走到这里，无法判断。",
                },
                _ => Words {
                    en: "{}: the time spent here isn't known yet: too few deals were watched for so long.",
                    zh: "{}：停留时间尚不可知：观察时间够长的商机太少。",
                },
            },
            &["stage"],
        );
        let none = say(
            Words {
                en: "{}: there is no benchmark to hold it against.",
                zh: "{}：没有可比较的基准。",
            },
            &["stage"],
        );
        format!(
            "CASE {decision} WHEN 'push_first' THEN {first} WHEN 'push' THEN {push} WHEN 'not_sure' THEN {unsure} \
             WHEN 'at_benchmark' THEN {fine} WHEN 'blocked' THEN {blocked} WHEN 'no_benchmark' THEN {none} ELSE {nobody} END"
        )
    }
}
