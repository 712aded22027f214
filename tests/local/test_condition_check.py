"""A SELECT that uses all words of a question and joins them wrongly is refused; one that joins them rightly is not."""

from collections.abc import Iterator

import pytest

from kapelle.local.question_check import DoesNotFit, check_select, find_unknown_words, run_select
from kapelle.local.table_questions import SchemaLinks, link_schema
from kapelle.tools import Tables

FILES = {
    "orders.csv": """order_id,customer,product,quantity,price,order_date,status,city
1,Ana,Laptop,1,1200.0,2023-01-15,paid,Lima
2,Ana,Mouse,2,25.5,2023-02-03,open,Lima
3,Ben,Laptop,1,1150.0,2024-03-10,paid,Quito
4,Ben,Keyboard,3,45.0,2024-03-11,paid,Quito
5,Cara,Mouse,5,24.0,2024-05-20,cancelled,Lima
6,Dan,Monitor,2,310.0,2024-07-01,open,Bogota
7,Dan,Laptop,2,1250.0,2023-12-31,paid,Bogota
""",
    "customers.csv": "customer,country\nAna,Peru\nBen,Ecuador\nCara,Peru\nDan,Colombia\nFay,Chile\n",
    "students.csv": """student,class,age,score,passed
Amy,A,14,88,yes
Bob,A,15,72,yes
Cid,B,14,55,no
Dot,B,16,88,yes
Eli,C,15,40,no
""",
    "rivers.csv": """river,country,length
Amazon,Peru,6400
Amazon,Colombia,6400
Ucayali,Peru,1900
Magdalena,Colombia,1528
""",
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tables]:
    folder = tmp_path_factory.mktemp("tables")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Tables(folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def links(tables: Tables) -> SchemaLinks:
    return link_schema(tables)


WRONG = [
    ("What is the total price of orders?", "SELECT sum(price) / count(*) FROM orders"),
    ("What is the total price of orders?", "SELECT sum(price + price) FROM orders"),
    ("What is the average price of orders?", "SELECT -avg(price) FROM orders"),
    ("How many orders are there?", "SELECT length(count(*)) FROM orders"),
    ("Orders with a price over 100", "SELECT order_id FROM orders WHERE price - 100 > 100"),
    (
        "What is the total price of the 2 most expensive orders?",
        "SELECT sum(price) FROM orders ORDER BY price DESC LIMIT 2",
    ),
    (
        "Average price per city of paid orders",
        "SELECT city, avg(price) FROM orders GROUP BY city HAVING status = 'paid'",
    ),
    (
        "Students with a score more than Bob",
        "SELECT student FROM students WHERE (SELECT score FROM students WHERE student = 'Bob') > score",
    ),
    ("Customers of orders in Peru", "SELECT DISTINCT orders.customer FROM orders, customers WHERE country = 'Peru'"),
    (
        "Which customers ordered a mouse or a laptop in Lima?",
        "SELECT DISTINCT customer FROM orders WHERE product = 'Mouse' OR product = 'Laptop' AND city = 'Lima'",
    ),
    (
        "Which customers ordered a mouse and a laptop?",
        "SELECT DISTINCT customer FROM orders WHERE product = 'Mouse' OR product = 'Laptop'",
    ),
    (
        "Which customers ordered a mouse and a laptop?",
        "SELECT DISTINCT customer FROM orders WHERE product IN ('Mouse', 'Laptop')",
    ),
    (
        "List the orders that are not from Lima and not paid",
        "SELECT order_id FROM orders WHERE city <> 'Lima' OR status <> 'paid'",
    ),
    ("How many paid orders are in Lima?", "SELECT COUNT(*) FROM orders WHERE status = 'paid' OR city = 'Lima'"),
    (
        "Which orders have a price between 30 and 45?",
        "SELECT order_id FROM orders WHERE price >= 30 OR price <= 45",
    ),
    (
        "Which rivers flow through Peru but not Colombia?",
        "SELECT DISTINCT river FROM rivers WHERE country = 'Peru' AND country <> 'Colombia'",
    ),
    (
        "Which students scored above average?",
        "SELECT student FROM students WHERE score > (SELECT AVG(age) FROM students)",
    ),
    ("Which customers have more than one order?", "SELECT customer FROM orders WHERE quantity > 1"),
    ("Which customers have exactly 2 orders?", "SELECT customer FROM orders WHERE quantity = 2"),
    ("Which customers have two orders?", "SELECT customer FROM orders WHERE quantity = 2"),
    (
        "Which orders have a price under 30 and a quantity over 1?",
        "SELECT order_id FROM orders WHERE price < 1 AND quantity > 30",
    ),
    (
        "Which orders have a price under 30 and a quantity over 1?",
        "SELECT order_id FROM orders WHERE quantity < 30 AND price > 1",
    ),
    (
        "Which orders have a price under 30 and a quantity over 1?",
        "SELECT order_id FROM orders WHERE price > 30 AND quantity < 1",
    ),
    ("Which customers have no paid orders?", "SELECT DISTINCT customer FROM orders WHERE status <> 'paid'"),
    ("Which customers have all orders paid?", "SELECT DISTINCT customer FROM orders WHERE status = 'paid'"),
    (
        "Which students are not in class A and passed?",
        "SELECT student FROM students WHERE class <> 'A' AND passed = 'no'",
    ),
    ("How many orders are in 2024?", "SELECT COUNT(*) FROM orders WHERE strftime('%m', order_date) = '2024'"),
    ("What is the total quantity of paid orders?", "SELECT COUNT(quantity) FROM orders WHERE status = 'paid'"),
    ("What is the average price of paid orders?", "SELECT ROUND(AVG(price)) FROM orders WHERE status = 'paid'"),
    (
        "What is the average price of paid orders?",
        "SELECT CAST(AVG(price) AS INTEGER) FROM orders WHERE status = 'paid'",
    ),
    ("How many customers have orders?", "SELECT COUNT(customer) FROM orders"),
    ("What is the total quantity per city?", "SELECT SUM(quantity) FROM orders GROUP BY city"),
    ("What is the average price per city?", "SELECT city, AVG(price) FROM orders GROUP BY city, product"),
    ("What is the average score per class?", "SELECT class, AVG(score) FROM students GROUP BY age"),
    ("What is the score of the student with the highest age?", "SELECT score, MAX(age) FROM students"),
    (
        "Which orders have the highest price?",
        "SELECT order_id FROM orders ORDER BY (SELECT price FROM orders) DESC LIMIT 1",
    ),
    (
        "Which customers are there?",
        "SELECT customer FROM customers UNION SELECT customer FROM orders",
    ),
]
RIGHT = [
    (
        "Which customers ordered a mouse or a laptop?",
        "SELECT DISTINCT customer FROM orders WHERE product = 'Mouse' OR product = 'Laptop'",
    ),
    ("How many orders are from Lima and Quito?", "SELECT COUNT(*) FROM orders WHERE city IN ('Lima', 'Quito')"),
    (
        "Which customers are from Peru and Chile?",
        "SELECT customer FROM customers WHERE country = 'Peru' OR country = 'Chile'",
    ),
    (
        "Which rivers flow through Peru and Colombia?",
        "SELECT river FROM rivers WHERE country = 'Peru' INTERSECT SELECT river FROM rivers WHERE country = 'Colombia'",
    ),
    (
        "Which customers have more than one order?",
        "SELECT customer FROM orders GROUP BY customer HAVING COUNT(*) > 1",
    ),
    (
        "Which orders have a price under 30 and a quantity over 1?",
        "SELECT order_id FROM orders WHERE price < 30 AND quantity > 1",
    ),
    (
        "Which orders have a price between 30 and 45?",
        "SELECT order_id FROM orders WHERE price BETWEEN 30 AND 45",
    ),
    (
        "Which customers have no orders?",
        "SELECT customer FROM customers WHERE customer NOT IN (SELECT customer FROM orders)",
    ),
    ("How many orders are in 2024?", "SELECT COUNT(*) FROM orders WHERE strftime('%Y', order_date) = '2024'"),
    ("What is the total quantity of paid orders?", "SELECT SUM(quantity) FROM orders WHERE status = 'paid'"),
    ("What is the average price of paid orders?", "SELECT ROUND(AVG(price), 2) FROM orders WHERE status = 'paid'"),
    ("How many customers have orders?", "SELECT COUNT(DISTINCT customer) FROM orders"),
    ("What is the total quantity per city?", "SELECT city, SUM(quantity) FROM orders GROUP BY city"),
    (
        "Which students scored above average?",
        "SELECT student FROM students WHERE score > (SELECT AVG(score) FROM students)",
    ),
]


@pytest.mark.parametrize(("question", "sql"), WRONG)
def test_parts_that_are_joined_wrongly_are_refused(question: str, sql: str, tables: Tables, links: SchemaLinks) -> None:
    assert not find_unknown_words(question, links)  # the words alone would not stop it
    with pytest.raises(DoesNotFit):
        run_select(check_select(sql, question, tables=tables, links=links), tables=tables, links=links)


@pytest.mark.parametrize(("question", "sql"), RIGHT)
def test_parts_that_are_joined_rightly_are_believed(
    question: str, sql: str, tables: Tables, links: SchemaLinks
) -> None:
    select = check_select(sql, question, tables=tables, links=links)
    assert run_select(select, tables=tables, links=links).rows
