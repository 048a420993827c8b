//! What the demo says, and its SQL, in both languages.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::engine::DATABASE;
use crate::sample::Language;

pub fn default_data_dir(language: Language) -> &'static str {
    match language {
        Language::English => "./funnelsql-demo-en",
        Language::Chinese => "./funnelsql-demo-zh",
    }
}

/// The funnels' definitions.
pub fn funnels(language: Language) -> &'static str {
    match language {
        Language::English => include_str!("funnels_en.sql"),
        Language::Chinese => include_str!("funnels_zh.sql"),
    }
}

/// The tables are there already.
pub fn data_found(language: Language, folder: &Path) -> String {
    let folder = folder.display();
    match language {
        Language::English => format!("data: those in {folder} are used"),
        Language::Chinese => format!("数据：使用 {folder} 中已有的数据"),
    }
}

/// The tables are made now.
pub fn making_data(language: Language, folder: &Path, leads: usize) -> String {
    let folder = folder.display();
    match language {
        Language::English => format!("data: making {leads} leads in {folder}"),
        Language::Chinese => format!("数据：正在 {folder} 中生成 {leads} 条线索"),
    }
}

/// How to connect and what to ask first.
pub fn welcome(language: Language, address: SocketAddr) -> String {
    let connect = format!(
        "psql -h {} -p {} -U analyst {DATABASE}",
        reachable(address.ip()),
        address.port()
    );
    let [stages, channels] = queries(language);
    match language {
        Language::English => format!(
            "FunnelSQL demo: 18 months of a company's sales, recorded up to 2026-07-01.\n\
             \n\
             Connect in another terminal:\n  {connect}\n\
             \n\
             How far do leads get?\n{stages}\n\
             \n\
             Which channel's leads turn out to need the product?\n{channels}\n\
             \n\
             The same journeys from other records: 'sales_wide', 'sales_history'. SHOW FUNNELS lists them.\n\
             Press Ctrl-C to stop.\n"
        ),
        Language::Chinese => format!(
            "FunnelSQL 演示：一家公司 18 个月的销售数据，记录截至 2026-07-01。\n\
             \n\
             在另一个终端里连接：\n  {connect}\n\
             \n\
             线索走到了哪一步？\n{stages}\n\
             \n\
             哪个渠道的线索最容易确认需求？\n{channels}\n\
             \n\
             同样的旅程，换一种记录方式：'销售_宽表'、'销售_历程'。SHOW FUNNELS 列出全部漏斗。\n\
             按 Ctrl-C 停止。\n"
        ),
    }
}

/// The first queries. Records end on 2026-07-01, so it is asked as of then: today every open deal's
/// window would be over.
fn queries(language: Language) -> [String; 2] {
    let (funnel, stage) = match language {
        Language::English => ("sales", "activated"),
        Language::Chinese => ("销售", "线索激活"),
    };
    [
        format!(
            "  SELECT stage, entered, passed, lost, open, round(rate, 3) AS rate, bar\n  \
             FROM stage_conversion('{funnel}', as_of => '2026-07-01');"
        ),
        format!(
            "  SELECT channel, k, n, round(rate, 3) AS rate, round(lo, 3) AS lo, round(hi, 3) AS hi\n  \
             FROM stage_conversion('{funnel}', by => 'channel', as_of => '2026-07-01')\n  \
             WHERE stage = '{stage}' ORDER BY rate DESC;"
        ),
    ]
}

/// An address that a client on this computer can connect to.
fn reachable(listening: IpAddr) -> IpAddr {
    match listening {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_paste_reaches_a_server_that_listens_everywhere() {
        let welcome = |address: &str| welcome(Language::English, address.parse().unwrap());
        assert!(
            welcome("0.0.0.0:5477").contains("psql -h 127.0.0.1 -p 5477 -U analyst funnelsql\n")
        );
        assert!(welcome("[::]:1").contains("psql -h ::1 -p 1 "));
        assert!(welcome("192.0.2.7:80").contains("psql -h 192.0.2.7 -p 80 "));
    }
}
