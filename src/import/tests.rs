use std::fs;
use std::io::Write;

use super::*;
use tempfile::TempDir;

/// What is imported of a file: the columns with types, and the rows as texts.
struct Read {
    columns: Vec<String>,
    rows: Vec<String>,
    rejects: Vec<String>,
    notes: Vec<String>,
}

fn import_with(name: &str, content: &[u8], options: Options) -> Result<Read, ImportError> {
    import_as(name, content, options, &[])
}

fn import_as(
    name: &str,
    content: &[u8],
    options: Options,
    types: &[(&str, &str)],
) -> Result<Read, ImportError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let progress = Progress::default();
    let mut import = Import::look(&[path], options, &progress)?;
    for (name, sql_type) in types {
        import.read_as(name, sql_type)?;
    }
    let mut rejects = Rejects::new(Some(folder.path().join("rejects.csv")));
    let mut batches = Vec::new();
    import.batches(&progress, &mut rejects, &mut |batch| {
        batches.push(batch);
        Ok(())
    })?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = batch
                .columns()
                .iter()
                .map(|column| {
                    datafusion::arrow::util::display::array_value_to_string(column, row).unwrap()
                })
                .collect();
            rows.push(cells.join("|"));
        }
    }
    let columns = match import.columns() {
        [] => import
            .schema()
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect(),
        columns => columns
            .iter()
            .map(|column| format!("{} {}", column.name, column.sql_type))
            .collect(),
    };
    Ok(Read {
        columns,
        rows,
        rejects: rejects
            .first()
            .iter()
            .map(|reject| format!("{}: {}", reject.line, reject.reason))
            .collect(),
        notes: import.notes().to_vec(),
    })
}

fn import(name: &str, content: &[u8]) -> Read {
    import_with(name, content, Options::default()).unwrap()
}

#[test]
fn types_are_what_all_rows_say() {
    let csv = "Deal ID,客户,Amount,Rate,Closed On,Is Open,Zip,At,Big,Nothing,Mixed\n\
               1,云帆科技,\"1,234.50\",0.12345678,2024/3/1,yes,00123,2024-03-01T10:00:00+08:00,12345678901234567890,,1\n\
               2,海川,12,1e-3,2024/12/31,no,99999,2024-03-01T10:00:00Z,1,,a\n";
    let read = import("deals.csv", csv.as_bytes());
    assert_eq!(
        read.columns,
        [
            "deal_id bigint",
            "客户 text",
            "amount numeric(18,2)",
            "rate double precision",
            "closed_on date",
            "is_open boolean",
            "zip text",
            "at timestamptz",
            "big text",
            "nothing text",
            "mixed text"
        ]
    );
    assert_eq!(
        read.rows,
        [
            "1|云帆科技|1234.50|0.12345678|2024-03-01|true|00123|2024-03-01T02:00:00Z|12345678901234567890||1",
            "2|海川|12.00|0.001|2024-12-31|false|99999|2024-03-01T10:00:00Z|1||a"
        ]
    );
    assert!(read.rejects.is_empty() && read.notes.is_empty());
}

#[test]
fn days_and_months_are_told_apart_by_the_column() {
    let read = import(
        "a.csv",
        b"d,e,f\n3/1/2024,1/13/2024,13/1/2024\n4/2/2024,2/1/2024,1/2/2024\n",
    );
    assert_eq!(read.rows[0], "2024-03-01|2024-01-13|2024-01-13");
    assert_eq!(read.rows[1], "2024-04-02|2024-02-01|2024-02-01");
    let options = Options {
        date_order: DateOrder::Dmy,
        ..Options::default()
    };
    let read = import_with("a.csv", b"d\n3/1/2024\n", options).unwrap();
    assert_eq!(read.rows, ["2024-01-03"]);
}

#[test]
fn excel_has_its_own_ways() {
    // Its separator line, semicolons, decimal commas, formulas that keep zeros, empty columns behind, errors.
    let csv = "sep=;\r\nname;amount;code;;\r\nA;1.234,50;=\"007\";;\r\nB;-3,25;=\"12\";;\r\n\r\n;#N/A;#REF!;;\r\n";
    let read = import("x.csv", csv.as_bytes());
    assert_eq!(
        read.columns,
        ["name text", "amount numeric(18,2)", "code text"]
    );
    assert_eq!(read.rows, ["A|1234.50|007", "B|-3.25|12", "||"]);
    // \"Unicode text\" of Excel is UTF-16 with tabs.
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(
        "姓名\t金额\r\n张三\t5\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes),
    );
    let read = import("x.txt", &utf16);
    assert_eq!(read.columns, ["姓名 text", "金额 bigint"]);
    assert_eq!(read.rows, ["张三|5"]);
    assert!(read.notes[0].contains("UTF-16LE"), "{:?}", read.notes);
}

#[test]
fn sums_of_money_may_say_their_currency_in_some_rows() {
    let csv = "客户,金额,折扣\n甲,￥1,２０％\n乙,2.50 元,１０％\n丙,３,５％\n";
    let read = import("deals.csv", csv.as_bytes());
    assert_eq!(
        read.columns,
        ["客户 text", "金额 numeric(18,2)", "折扣 double precision"]
    );
    assert_eq!(read.rows, ["甲|1.00|0.2", "乙|2.50|0.1", "丙|3.00|0.05"]);
    // Two currencies make no number.
    let read = import("deals.csv", "amount\n$1\n2 €\n3\n".as_bytes());
    assert_eq!(read.columns, ["amount text"]);
}

#[test]
fn encodings_are_found_out() {
    let text = "客户名称,金额,签约日期\n北京云帆科技有限公司,1200,2024年3月1日\n上海海川贸易有限公司,88,2024年12月31日\n";
    let (gb18030, ..) = encoding_rs::GB18030.encode(text);
    let expected = [
        "北京云帆科技有限公司|1200|2024-03-01",
        "上海海川贸易有限公司|88|2024-12-31",
    ];
    let read = import("a.csv", &gb18030);
    assert_eq!(
        read.columns,
        ["客户名称 text", "金额 bigint", "签约日期 date"]
    );
    assert_eq!(read.rows, expected);
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(text.as_bytes());
    assert_eq!(import("a.csv", &marked).columns[0], "客户名称 text");
    // Its first letter that isn't ASCII is behind the first window.
    let mut late = b"id,name\n".to_vec();
    for number in 0..200_000 {
        writeln!(late, "{number},name").unwrap();
    }
    late.extend(
        &*encoding_rs::GB18030
            .encode("7,北京云帆科技有限公司\n8,上海海川贸易\n")
            .0,
    );
    let read = import("late.csv", &late);
    assert_eq!(read.rows.last().unwrap(), "8|上海海川贸易");
    assert_eq!(read.rows.len(), 200_002);
}

#[test]
fn rows_that_cannot_be_read_are_rejects() {
    let mut csv = "a,b\n1,线索线索\n1,2,3\n4\n5,6,\n".as_bytes().to_vec();
    csv.extend(b"7,\xff\n8,\0\n9,\"x\ny\"\n10,z\n");
    let read = import("a.csv", &csv);
    assert_eq!(read.rows, ["1|线索线索", "5|6", "9|x\ny", "10|z"]);
    assert_eq!(
        read.rejects,
        [
            "3: 3 fields where the header has 2",
            "4: 1 fields where the header has 2",
            "6: field 2: byte 1 is not UTF-8",
            "7: field 2: a NUL character, which a text can't have"
        ]
    );
    let read = import_as(
        "a.csv",
        b"a\n1\n100\nx\n-99.94\n",
        Options::default(),
        &[("a", "numeric(3,1)")],
    )
    .unwrap();
    assert_eq!(read.rows, ["1.0", "-99.9"]);
    assert_eq!(
        read.rejects,
        [
            "3: column a: \"100\" is no numeric(3,1)",
            "4: column a: \"x\" is no numeric(3,1)"
        ]
    );
    // Days are read in the order that most of them have.
    for (csv, rows, rejects) in [
        ("d\n2026/1/5\n2026/99/1\n", vec!["2026-01-05"], vec!["3"]),
        (
            "d\n3/4/2026\n13/4/2026\nx\n",
            vec!["2026-04-03", "2026-04-13"],
            vec!["4"],
        ),
        ("d\n3/4/2026\nx\n", vec!["2026-03-04"], vec!["3"]),
        ("d\nx\n", vec![], vec!["2"]),
    ] {
        let types = [("d", "date")];
        let read = import_as("a.csv", csv.as_bytes(), Options::default(), &types).unwrap();
        assert_eq!(read.rows, rows, "{csv}");
        let lines = read
            .rejects
            .iter()
            .map(|reject| reject.split_once(':').unwrap().0);
        assert_eq!(lines.collect::<Vec<_>>(), rejects, "{csv}");
    }
    let error = import_as("a.csv", b"a\n1\n", Options::default(), &[("b", "text")])
        .err()
        .unwrap();
    assert_eq!(
        (error.code, error.hint.as_deref()),
        ("42703", Some("They have a."))
    );
}

#[test]
fn headers_are_made_names() {
    let read = import("a.csv", b"Name,name,,Name\na,b,c,d\n");
    assert_eq!(
        read.columns,
        ["name text", "name_2 text", "column_3 text", "name_3 text"]
    );
    let options = || Options {
        no_header: true,
        ..Options::default()
    };
    let read = import_with("a.csv", b"1,x\n2,y\n", options()).unwrap();
    assert_eq!(
        (read.columns, read.rows),
        (
            vec!["column_1 bigint".into(), "column_2 text".into()],
            vec!["1|x".into(), "2|y".into()]
        )
    );
    let read = import("a.csv", b"12345,2024-01-01 10:00\n12346,2024-01-01 11:00\n");
    assert!(read.notes[0].contains("--no-header"));
}

#[test]
fn an_empty_file_says_so() {
    let code = |content: &[u8]| {
        import_with("a.csv", content, Options::default())
            .err()
            .unwrap()
            .code
    };
    assert_eq!(code(b""), "22P04");
    assert_eq!(import("a.csv", b"a,b\n").rows.len(), 0);
}

#[test]
fn json_names_its_columns_in_its_order() {
    let lines = "{\"id\": 1, \"name\": \"云\", \"zip\": \"123\", \"tags\": [1, \"x\"]}\n\n{\"id\": 2.5, \"at\": \"2024-03-01T00:00:00Z\", \"ok\": true}\n[1]\n{\"id\":\n";
    let read = import("a.jsonl", lines.as_bytes());
    assert_eq!(
        read.columns,
        [
            "id numeric(18,1)",
            "name text",
            "zip text",
            "tags text",
            "at timestamptz",
            "ok boolean"
        ]
    );
    assert_eq!(
        read.rows,
        ["1.0|云|123|[1,\"x\"]||", "2.5||||2024-03-01T00:00:00Z|true"]
    );
    assert_eq!(read.rejects.len(), 2);
    assert!(read.rejects[0].starts_with("4: "));
    let read = import("a.json", b" [{\"a\": 1}, {\"b\": \"x\"}]");
    assert_eq!(read.rows, ["1|", "|x"]);
    assert!(import_with("a.json", b"[{\"a\": 1}, 2]", Options::default()).is_err());
}

#[test]
fn event_logs_have_a_row_for_each_event() {
    let xes = r#"<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
  <string key="concept:name" value="log"/>
  <global scope="event"><string key="concept:name" value="none"/></global>
  <trace>
    <string key="concept:name" value="案件 1"><string key="inner" value="x"/></string>
    <float key="amount" value="12.5"/>
    <event><string key="concept:name" value="签约 &amp; 付款"/><date key="time:timestamp" value="2024-03-01T10:00:00.000+08:00"/></event>
    <event><string key="concept:name" value="b"/><date key="time:timestamp" value="2024-03-02T10:00:00.000+08:00"/><int key="cost" value="7"/></event>
  </trace>
  <trace/>
</log>"#;
    let read = import("log.xes", xes.as_bytes());
    assert_eq!(
        read.columns,
        [
            "case_concept_name text",
            "case_amount numeric(18,1)",
            "concept_name text",
            "time_timestamp timestamptz",
            "cost bigint"
        ]
    );
    assert_eq!(
        read.rows,
        [
            "案件 1|12.5|签约 & 付款|2024-03-01T02:00:00Z|",
            "案件 1|12.5|b|2024-03-02T02:00:00Z|7"
        ]
    );
    let error = import_with("log.xes", b"<a/>", Options::default())
        .err()
        .unwrap();
    assert_eq!(error.code, "22P04");
    assert!(
        import_with(
            "log.xes",
            b"<log><trace><event></trace>",
            Options::default()
        )
        .is_err()
    );
}

#[test]
fn compressed_files_are_read_and_broken_ones_are_not() {
    let csv = b"a\n1\n2\n".repeat(10_000);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&csv).unwrap();
    let mut gz = gz.finish().unwrap();
    assert_eq!(import("a.csv.gz", &gz).rows.len(), 29_999);
    let zst = zstd::encode_all(csv.as_slice(), 1).unwrap();
    assert_eq!(import("a.csv.zst", &zst).rows.len(), 29_999);
    gz.truncate(gz.len() / 2);
    let error = import_with("a.csv.gz", &gz, Options::default())
        .err()
        .unwrap();
    assert_eq!(error.code, "58030");
    assert_eq!(
        import_with("a.csv.gz", &csv, Options::default())
            .err()
            .unwrap()
            .code,
        "58030"
    );
}

#[test]
fn a_quote_that_is_never_closed_is_told() {
    let mut csv = b"a,b\n1,\"x".to_vec();
    csv.resize(70 << 20, b'y');
    let error = import_with("a.csv", &csv, Options::default())
        .err()
        .unwrap();
    assert_eq!(error.code, "54000");
    assert!(error.message.contains("line 2"), "{}", error.message);
    for csv in ["a,b\n1,\"abc\n2,x\n", "a,b\n1,\"", "a,b\n1,\"x\"\"\n2,x"] {
        let error = import_with("a.csv", csv.as_bytes(), Options::default());
        let error = error.err().unwrap();
        assert_eq!(error.code, "22P04", "{csv}");
        assert!(error.message.contains("line 2"), "{}", error.message);
    }
    for csv in [
        "a,b\n1,\"abc\"",
        "a,b\n1,\"abc\"\n",
        "a,b\n1,5\" pipe\n\n",
        "a,b\n1,\"x\"\"\"",
    ] {
        assert!(
            import_with("a.csv", csv.as_bytes(), Options::default()).is_ok(),
            "{csv}"
        );
    }
}

#[test]
fn workbooks_are_read() {
    use rust_xlsxwriter::{ExcelDateTime, Format, Formula, Workbook};
    let mut book = Workbook::new();
    book.add_worksheet().set_name("empty").unwrap();
    let sheet = book.add_worksheet();
    sheet.set_name("数据").unwrap();
    let day = Format::new().set_num_format("yyyy-mm-dd");
    let moment = Format::new().set_num_format("yyyy-mm-dd hh:mm");
    // A title's row is empty above the header, as people leave it.
    for (column, header) in [
        "Deal ID", "客户", "Amount", "Phone", "Closed", "Called", "Twice", "Won",
    ]
    .into_iter()
    .enumerate()
    {
        sheet
            .write(1, u16::try_from(column).unwrap(), header)
            .unwrap();
    }
    for (row, amount) in [(2, 12.5), (3, 7.0)] {
        sheet.write(row, 0, row).unwrap();
        sheet.write(row, 1, "云帆").unwrap();
        sheet.write(row, 2, amount).unwrap();
        sheet.write(row, 3, "13800138000").unwrap();
        sheet
            .write_with_format(row, 4, ExcelDateTime::from_ymd(2024, 3, 1).unwrap(), &day)
            .unwrap();
        let called = ExcelDateTime::from_ymd(2024, 3, 1)
            .unwrap()
            .and_hms(14, 5, 0)
            .unwrap();
        sheet.write_with_format(row, 5, &called, &moment).unwrap();
        sheet
            .write(
                row,
                6,
                Formula::new("=C3*2").set_result((amount * 2.0).to_string()),
            )
            .unwrap();
        sheet.write(row, 7, row == 2).unwrap();
    }
    sheet.write(5, 0, 9).unwrap();
    let error = Formula::new("=1/0").set_result("#DIV/0!");
    sheet.write(5, 2, error).unwrap();
    let content = book.save_to_buffer().unwrap();
    let read = import("a.xlsx", &content);
    assert_eq!(
        read.columns,
        [
            "deal_id bigint",
            "客户 text",
            "amount numeric(18,1)",
            "phone text",
            "closed date",
            "called timestamp",
            "twice bigint",
            "won boolean"
        ]
    );
    assert_eq!(
        read.rows,
        [
            "2|云帆|12.5|13800138000|2024-03-01|2024-03-01T14:05:00|25|true",
            "3|云帆|7.0|13800138000|2024-03-01|2024-03-01T14:05:00|14|false",
            "9|||||||"
        ]
    );
    assert!(read.notes[0].contains("数据"), "{:?}", read.notes);
    let sheet = |name: &str| Options {
        sheet: Some(name.to_owned()),
        ..Options::default()
    };
    assert_eq!(
        import_with("a.xlsx", &content, sheet("数据"))
            .unwrap()
            .rows
            .len(),
        3
    );
    assert_eq!(
        import_with("a.xlsx", &content, sheet("no"))
            .err()
            .unwrap()
            .code,
        "22023"
    );
    assert_eq!(
        import_with("a.xlsx", b"no workbook", Options::default())
            .err()
            .unwrap()
            .code,
        "22P04"
    );
    let half = &content[..content.len() / 2];
    assert_eq!(
        import_with("a.xlsx", half, Options::default())
            .err()
            .unwrap()
            .code,
        "22P04"
    );
}

#[test]
fn files_that_know_their_types_keep_them() {
    use datafusion::arrow::array::{Int32Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};
    use datafusion::arrow::ipc::writer::{FileWriter, StreamWriter};
    use datafusion::parquet::arrow::ArrowWriter;
    let schema = Arc::new(Schema::new(vec![
        Field::new("Deal ID", DataType::Int32, false),
        Field::new("名", DataType::Utf8, true),
    ]));
    let columns: Vec<datafusion::arrow::array::ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![1, 2])),
        Arc::new(StringArray::from(vec![Some("云"), None])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut parquet = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut parquet, Arc::clone(&schema), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut file = Vec::new();
    let mut writer = FileWriter::try_new(&mut file, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    for (name, content) in [
        ("a.parquet", &parquet),
        ("a.arrow", &file),
        ("a.arrows", &stream),
    ] {
        let read = import(name, content);
        assert_eq!(read.columns, ["deal_id Int32", "名 Utf8"], "{name}");
        assert_eq!(read.rows, ["1|云", "2|"], "{name}");
        let broken = &content[..content.len() / 2];
        let error = import_with(name, broken, Options::default()).err().unwrap();
        assert_eq!(error.code, "22P04", "{name}");
    }
}

#[test]
fn several_files_make_one_table() {
    let folder = TempDir::new().unwrap();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    put("b.csv", b"x,y\n1,a\n");
    put("a.csv", b"y,z\nb,2.5\n");
    put(".hidden.csv", b"no\n1\n");
    put("notes.md", b"no");
    let progress = Progress::default();
    let look = |path: PathBuf| Import::look(&[path], Options::default(), &progress);
    let import = look(folder.path().to_owned()).unwrap();
    let names: Vec<&str> = import
        .columns()
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["y", "z", "x"]);
    assert_eq!(import.rows(), 2);
    assert_eq!(look(folder.path().join("*.csv")).unwrap().inputs().len(), 2);
    assert_eq!(
        look(folder.path().join("nothing*")).err().unwrap().code,
        "58P01"
    );
    assert_eq!(
        look(folder.path().join("notes.md")).err().unwrap().code,
        "22023"
    );
    assert_eq!(
        look(folder.path().join("a.csv.bak")).err().unwrap().code,
        "58P01"
    );
}
