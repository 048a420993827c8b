//! Every text value of the sample tables, in both languages.

use std::str::FromStr;

use super::company::{CallScript, Channel, CompanySize, Industry, Owner, Region};
use super::followups::FollowupKind;
use super::journey::{LostReason, Stage, StepKind};
use super::loss_tags::Tag;
use super::touches::TouchChannel;

/// The language of the text values; its codes are `en` and `zh`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// `en`
    #[default]
    English,
    /// `zh`
    Chinese,
}

impl FromStr for Language {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        match code {
            "en" => Ok(Self::English),
            "zh" => Ok(Self::Chinese),
            _ => Err(format!(
                "language \"{code}\" does not exist; write \"en\" or \"zh\""
            )),
        }
    }
}

impl Language {
    /// The text of a value in this language.
    pub(super) fn text(self, value: impl Translated) -> &'static str {
        let Text(english, chinese) = value.texts();
        match self {
            Self::English => english,
            Self::Chinese => chinese,
        }
    }
}

/// A text in English and in Chinese.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text(&'static str, &'static str);

/// A value that the tables show as text.
pub(super) trait Translated {
    fn texts(self) -> Text;
}

impl Translated for Channel {
    fn texts(self) -> Text {
        match self {
            Self::OrganicSearch => Text("organic_search", "自然搜索"),
            Self::PaidSearch => Text("paid_search", "付费搜索"),
            Self::Referral => Text("referral", "客户推荐"),
            Self::Webinar => Text("webinar", "线上研讨会"),
            Self::Partner => Text("partner", "合作伙伴"),
            Self::Outbound => Text("outbound", "主动外呼"),
        }
    }
}

impl Translated for TouchChannel {
    fn texts(self) -> Text {
        match self {
            Self::Content => Text("content", "内容营销"),
            Self::Of(channel) => channel.texts(),
        }
    }
}

impl Translated for Region {
    fn texts(self) -> Text {
        match self {
            Self::North => Text("north", "华北"),
            Self::East => Text("east", "华东"),
            Self::South => Text("south", "华南"),
            Self::West => Text("west", "西部"),
        }
    }
}

impl Translated for Industry {
    fn texts(self) -> Text {
        match self {
            Self::Manufacturing => Text("manufacturing", "制造业"),
            Self::Retail => Text("retail", "零售"),
            Self::Finance => Text("finance", "金融"),
            Self::Healthcare => Text("healthcare", "医疗健康"),
            Self::Education => Text("education", "教育"),
        }
    }
}

impl Translated for CompanySize {
    fn texts(self) -> Text {
        match self {
            Self::Small => Text("small", "小型"),
            Self::Medium => Text("medium", "中型"),
            Self::Large => Text("large", "大型"),
        }
    }
}

impl Translated for CallScript {
    fn texts(self) -> Text {
        match self {
            Self::A => Text("A", "A"),
            Self::B => Text("B", "B"),
        }
    }
}

/// Three owners for each region, in the order of the regions.
const OWNERS: [Text; 12] = [
    Text("Emma Clark", "王芳"),
    Text("Noah Evans", "李强"),
    Text("Olivia Reed", "张敏"),
    Text("Liam Foster", "刘洋"),
    Text("Ava Bennett", "陈静"),
    Text("Lucas Gray", "杨磊"),
    Text("Mia Turner", "赵丽"),
    Text("Ethan Brooks", "黄涛"),
    Text("Sofia Hayes", "周婷"),
    Text("Mason Price", "吴斌"),
    Text("Chloe Ward", "徐慧"),
    Text("Henry Cole", "孙浩"),
];

impl Translated for Owner {
    fn texts(self) -> Text {
        OWNERS[self.0]
    }
}

impl Translated for LostReason {
    fn texts(self) -> Text {
        match self {
            Self::NoResponse => Text("no_response", "无人回应"),
            Self::WrongFit => Text("wrong_fit", "需求不匹配"),
            Self::NoBudget => Text("no_budget", "预算不足"),
            Self::Price => Text("price", "价格过高"),
            Self::Competitor => Text("competitor", "选择竞品"),
        }
    }
}

impl Translated for Tag {
    fn texts(self) -> Text {
        match self {
            Self::NoAnswer => Text("no_answer", "联系不上"),
            Self::UnclearNeed => Text("unclear_need", "需求不清"),
            Self::DecisionMakerMissing => Text("decision_maker_missing", "未触达决策人"),
            Self::MissingFeature => Text("missing_feature", "功能缺失"),
            Self::LateQuote => Text("late_quote", "报价太慢"),
            Self::TooExpensive => Text("too_expensive", "价格太高"),
            Self::LongPaymentTerms => Text("long_payment_terms", "账期太长"),
        }
    }
}

/// A step's name in the event log.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventName(pub(super) StepKind);

impl Translated for EventName {
    fn texts(self) -> Text {
        let Text(stage, chinese) = StageName(self.0).texts();
        let english = match self.0 {
            StepKind::Entered(Stage::Acquired) => "lead_created",
            StepKind::Entered(Stage::Activated) => "first_contact",
            StepKind::Entered(Stage::Qualified) => "need_confirmed",
            StepKind::Entered(Stage::Proposed) => "proposal_sent",
            StepKind::Entered(Stage::Negotiating) => "negotiation",
            StepKind::Entered(Stage::Won) => "contract_signed",
            StepKind::Lost(_) => stage,
        };
        Text(english, chinese)
    }
}

/// A step's name in the stage history.
#[derive(Debug, Clone, Copy)]
pub(super) struct StageName(pub(super) StepKind);

impl Translated for StageName {
    fn texts(self) -> Text {
        match self.0 {
            StepKind::Entered(Stage::Acquired) => Text("acquired", "线索获取"),
            StepKind::Entered(Stage::Activated) => Text("activated", "线索激活"),
            StepKind::Entered(Stage::Qualified) => Text("qualified", "需求确认"),
            StepKind::Entered(Stage::Proposed) => Text("proposed", "方案沟通"),
            StepKind::Entered(Stage::Negotiating) => Text("negotiating", "商务谈判"),
            StepKind::Entered(Stage::Won) => Text("won", "成交转化"),
            StepKind::Lost(_) => Text("lost", "流失"),
        }
    }
}

impl Translated for FollowupKind {
    fn texts(self) -> Text {
        match self {
            Self::Call => Text("call", "电话"),
            Self::Email => Text("email", "邮件"),
            Self::Visit => Text("visit", "拜访"),
            Self::Demo => Text("demo", "演示"),
        }
    }
}

/// How many notes there are to choose from for a kind of follow-up and its effect.
pub(super) const NOTES_PER_CASE: usize = 2;

/// A follow-up's note.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note {
    pub(super) kind: FollowupKind,
    pub(super) effective: bool,
    /// Below [`NOTES_PER_CASE`].
    pub(super) choice: usize,
}

impl Translated for Note {
    fn texts(self) -> Text {
        let choices: [Text; NOTES_PER_CASE] = match (self.kind, self.effective) {
            (FollowupKind::Call, true) => [
                Text("talked through the need", "电话沟通了需求"),
                Text("agreed on the next step", "约定了下一步"),
            ],
            (FollowupKind::Call, false) => [
                Text("nobody answered", "无人接听"),
                Text("asked to call back later", "请稍后再联系"),
            ],
            (FollowupKind::Email, true) => [
                Text("answered with questions", "回复并提出问题"),
                Text("asked for the price list", "索取报价单"),
            ],
            (FollowupKind::Email, false) => [
                Text("no answer yet", "暂无回复"),
                Text("out-of-office reply", "自动回复外出"),
            ],
            (FollowupKind::Visit, true) => [
                Text("met the decision maker", "见到决策人"),
                Text("saw the current process", "了解了现有流程"),
            ],
            (FollowupKind::Visit, false) => [
                Text("decision maker was away", "决策人不在"),
                Text("visit was cut short", "拜访提前结束"),
            ],
            (FollowupKind::Demo, true) => [
                Text("wants a trial account", "希望试用"),
                Text("demo covered every need", "演示满足全部需求"),
            ],
            (FollowupKind::Demo, false) => [
                Text("few people joined", "参加人数较少"),
                Text("missed a feature", "缺少所需功能"),
            ],
        };
        choices[self.choice]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_its_code() {
        assert_eq!("zh".parse(), Ok(Language::Chinese));
        assert_eq!("en".parse(), Ok(Language::English));
        assert_eq!(
            "fr".parse::<Language>(),
            Err("language \"fr\" does not exist; write \"en\" or \"zh\"".to_owned())
        );
    }

    #[test]
    fn a_loss_has_one_name_in_both_tables() {
        let lost = StepKind::Lost(LostReason::Price);
        assert_eq!(Language::English.text(EventName(lost)), "lost");
        assert_eq!(Language::Chinese.text(StageName(lost)), "流失");
    }
}
