"""Five small folders as people have them, and what they ask of them: every question with the SQL that answers it."""

from __future__ import annotations

FOLDERS: dict[str, dict[str, str]] = {
    "staff": {
        "employees.csv": """\
employee_id,name,department,job_title,salary_eur,hire_date,remote,manager,children
E001,Anna Keller,Engineering,Developer,72000,2019-03-15,yes,Paul Weber,2
E002,Paul Weber,Engineering,Team Lead,95000,2015-07-01,no,,3
E003,Maria Rossi,Sales,Account Manager,58000,2021-01-10,yes,Tom Berg,0
E004,Tom Berg,Sales,Sales Director,99000,2012-11-20,no,,1
E005,Lena Vogel,Marketing,Designer,51000,2023-05-02,yes,Ines Duarte,0
E006,Ines Duarte,Marketing,Marketing Director,88000,2018-09-17,no,,4
E007,Jonas Frank,Engineering,Developer,72000,2023-02-01,no,Paul Weber,1
E008,Sofie Lund,Support,Agent,39000,2020-06-30,yes,Rita Lang,2
E009,Rita Lang,Support,Support Lead,61000,2016-04-04,no,,5
E010,Omar Haddad,Sales,Account Manager,56000,2023-10-09,,Tom Berg,2
""",
        "departments.csv": """\
department,building,budget_eur,head
Engineering,North,900000,Paul Weber
Sales,South,650000,Tom Berg
Marketing,South,400000,Ines Duarte
Support,East,300000,Rita Lang
""",
    },
    "invoices": {
        "invoices.csv": """\
invoice_no,customer,amount_eur,status,issued,due_date
INV-001,Acme,1200.50,paid,2023-01-15,2023-02-14
INV-002,Borealis,560.00,unpaid,2023-11-03,2023-12-03
INV-003,Acme,89.90,overdue,2023-12-20,2024-01-19
INV-004,Corvid,2300.00,paid,2024-02-01,2024-03-02
INV-005,Delphi,150.00,unpaid,2024-03-11,2024-04-10
INV-006,Borealis,4100.00,overdue,2024-03-28,2024-04-27
INV-007,Acme,75.25,unpaid,2024-05-06,2024-06-05
INV-008,Corvid,999.00,paid,2024-06-18,2024-07-18
""",
        "customers.csv": """\
customer,country,active,founded
Acme,Germany,true,1987
Borealis,Norway,true,2004
Corvid,Germany,false,1999
Delphi,Greece,true,2015
""",
    },
    "products": {
        "products.csv": """\
sku,product,category,price_usd,stock,discontinued,rating
A-1,Desk Lamp,Lighting,39.90,12,0,4.5
A-2,Floor Lamp,Lighting,89.00,0,0,4.1
B-1,Office Chair,Furniture,249.00,7,0,4.7
B-2,Standing Desk,Furniture,599.00,3,0,
B-3,Bookcase,Furniture,129.00,15,1,3.9
C-1,Notebook,Stationery,3.50,240,0,4.3
C-2,Fountain Pen,Stationery,24.00,31,1,4.8
C-3,Stapler,Stationery,9.80,0,0,3.9
""",
    },
    "tickets": {
        "tickets.csv": """\
id,title,status,priority,opened,assignee,hours
101,Login fails,open,high,2024-01-05,Nadia,3.5
102,Slow search,closed,medium,2024-01-17,Ravi,6
103,Typo on home page,closed,low,2024-02-02,Nadia,0.5
104,Export is empty,in progress,high,2024-03-09,Ravi,4
105,Dark mode,open,low,2024-03-21,,0
106,Crash on save,open,high,2023-12-30,Mei,9
107,Wrong totals,closed,high,2023-11-11,Mei,5
""",
    },
    "projects": {
        "staff.csv": """\
code,name,office,remote,status,start_date,end_date,salary
1,José Núñez,São Paulo,Yes,Active,2020-01-02,,1000
2,Ann O'Neil,Oslo,no,inactive,2019-05-06,2022-01-01,2000
3,Bo,OSLO,YES,active,2021-02-03,,1500
4,Cy,Oslo,,Active,,,
""",
        "projects.csv": """\
project,owner,budget,status,paid,active,sold,new
Alpha,Bo,100,open,1,1,4,yes
Beta,Cy,200,closed,0,1,9,maybe
Gamma,Bo,300,paid,1,0,1,no
""",
    },
    "school": {
        "students.csv": """\
student,class,subject,grade,exam_date
Ada,7A,Maths,91,2024-06-03
Ada,7A,History,78,2024-06-05
Ben,7A,Maths,64,2024-06-03
Ben,7A,History,85,2024-06-05
Cleo,7B,Maths,91,2024-06-03
Cleo,7B,History,70,2024-06-05
Dov,7B,Maths,55,2024-06-03
""",
    },
}

ANSWERED: dict[str, dict[str, str]] = {
    "projects": {
        "remote staff": "SELECT name FROM staff WHERE code IN (1, 3)",
        "active staff": "SELECT name FROM staff WHERE code <> 2",
        "staff that are not active": "SELECT name FROM staff WHERE code = 2",
        "staff in Oslo": "SELECT name FROM staff WHERE code > 1",
        "staff in sao paulo": "SELECT name FROM staff WHERE code = 1",
        "salary of Ann O'Neil": "SELECT 2000",
        "lowest salary": "SELECT name, salary FROM staff WHERE code = 1",
        "active projects": "SELECT project FROM projects WHERE active = 1",
        "total budget of active projects": "SELECT 300",
        "staff who started after 2019": "SELECT name FROM staff WHERE code IN (1, 3)",
    },
    "staff": {
        "who earns the most": "SELECT name, salary_eur FROM employees WHERE name = 'Tom Berg'",
        "lowest paid employee in Sales": "SELECT name, salary_eur FROM employees WHERE name = 'Omar Haddad'",
        "employees whose manager is not Tom Berg": "SELECT name FROM employees WHERE manager IS NOT 'Tom Berg'",
        "employees in Sales and remote": "SELECT name FROM employees WHERE name = 'Maria Rossi'",
        "employees who aren't remote": "SELECT name FROM employees WHERE remote = 'no'",
        "salary of E003": "SELECT name, salary_eur FROM employees WHERE employee_id = 'E003'",
        "employees not in Sales who are remote": (
            "SELECT name FROM employees WHERE department <> 'Sales' AND remote = 'yes'"
        ),
        "average salary excluding Sales": "SELECT avg(salary_eur) FROM employees WHERE department <> 'Sales'",
        "employees with exactly 2 children": "SELECT name FROM employees WHERE children = 2",
        "employees with at least 2 children and at most 3 children": (
            "SELECT name FROM employees WHERE children IN (2, 3)"
        ),
        "how many employees do we have": "SELECT count(*) FROM employees",
        "are there any remote employees in Support": "SELECT 'Sofie Lund'",
        "in which department is Anna Keller": "SELECT 'Engineering'",
        "employees where remote = yes": "SELECT name FROM employees WHERE remote = 'yes'",
        "list the 3 newest employees": "SELECT name, hire_date FROM employees WHERE hire_date >= '2023'",
        "employees in North": "SELECT name FROM employees WHERE department = 'Engineering'",
        "How many employees are there?": "SELECT count(*) FROM employees",
        "List all employees": "SELECT name FROM employees",
        "How many employees are remote?": "SELECT count(*) FROM employees WHERE remote = 'yes'",
        "remote employees": "SELECT name FROM employees WHERE remote = 'yes'",
        "Which employees are remote?": "SELECT name FROM employees WHERE remote = 'yes'",
        "list the employees who are not remote": "SELECT name FROM employees WHERE remote = 'no'",
        "how many non-remote employees are there": "SELECT count(*) FROM employees WHERE remote = 'no'",
        "employees in Sales": "SELECT name FROM employees WHERE department = 'Sales'",
        "remote employees in Sales": "SELECT name FROM employees WHERE department = 'Sales' AND remote = 'yes'",
        "employees who are not in Sales": "SELECT name FROM employees WHERE department <> 'Sales'",
        "all employees except those in Sales": "SELECT name FROM employees WHERE department <> 'Sales'",
        "Who has the highest salary?": "SELECT name, salary_eur FROM employees WHERE salary_eur = 99000",
        "What is the salary of Anna Keller?": "SELECT salary_eur FROM employees WHERE name = 'Anna Keller'",
        "Anna Keller's job title": "SELECT job_title FROM employees WHERE name = 'Anna Keller'",
        "Who is the manager of Anna Keller?": "SELECT manager FROM employees WHERE name = 'Anna Keller'",
        "What is the average salary in Engineering?": (
            "SELECT avg(salary_eur) FROM employees WHERE department = 'Engineering'"
        ),
        "average salary of remote employees": "SELECT avg(salary_eur) FROM employees WHERE remote = 'yes'",
        "average salary per department": "SELECT department, avg(salary_eur) FROM employees GROUP BY 1",
        "How many employees per department?": "SELECT department, count(*) FROM employees GROUP BY 1",
        "which department has the most employees": (
            "SELECT department FROM employees WHERE department IN ('Engineering', 'Sales') GROUP BY 1"
        ),
        "employees with a salary over 70000": "SELECT name FROM employees WHERE salary_eur > 70000",
        "Which employees earn more than 70000 euros?": "SELECT name FROM employees WHERE salary_eur > 70000",
        "employees with more than 2 children": "SELECT name FROM employees WHERE children > 2",
        "employees with 3 or more children": "SELECT name FROM employees WHERE children >= 3",
        "employees with 2 children": "SELECT name FROM employees WHERE children = 2",
        "employees hired in 2023": "SELECT name FROM employees WHERE hire_date LIKE '2023%'",
        "How many employees were hired after 2018?": "SELECT count(*) FROM employees WHERE hire_date >= '2019'",
        "employees hired before 2016-04-04": "SELECT name FROM employees WHERE hire_date < '2016-04-04'",
        "employees hired since May 2023": "SELECT name FROM employees WHERE hire_date >= '2023-05'",
        "employees hired between 2018 and 2020": (
            "SELECT name FROM employees WHERE hire_date BETWEEN '2018' AND '2021'"
        ),
        "employees hired in Q2 2020": "SELECT name FROM employees WHERE name = 'Sofie Lund'",
        "top 3 employees by salary": "SELECT name, salary_eur FROM employees ORDER BY salary_eur DESC LIMIT 3",
        "employees sorted by salary": "SELECT name, salary_eur FROM employees",
        "total budget of the departments": "SELECT sum(budget_eur) FROM departments",
        "What is the lowest salary in Sales?": "SELECT name, salary_eur FROM employees WHERE name = 'Omar Haddad'",
        "who is the head of Marketing": "SELECT head FROM departments WHERE department = 'Marketing'",
        "When was Anna Keller hired?": "SELECT hire_date FROM employees WHERE name = 'Anna Keller'",
        "most recently hired employee": "SELECT name, hire_date FROM employees WHERE name = 'Omar Haddad'",
        "the salary of each employee": "SELECT name, salary_eur FROM employees",
        "employees in Sales or Support": "SELECT name FROM employees WHERE department IN ('Sales', 'Support')",
        "compare the salary of Anna Keller and Tom Berg": (
            "SELECT name, salary_eur FROM employees WHERE name IN ('Anna Keller', 'Tom Berg')"
        ),
    },
    "invoices": {
        "largest invoice": "SELECT invoice_no, amount_eur FROM invoices WHERE invoice_no = 'INV-006'",
        "smallest unpaid invoice": "SELECT invoice_no, amount_eur FROM invoices WHERE invoice_no = 'INV-007'",
        "invoices over 500": "SELECT invoice_no FROM invoices WHERE amount_eur > 500",
        "when was Acme founded": "SELECT 1987",
        "unpaid invoices except Acme": "SELECT invoice_no FROM invoices WHERE status = 'unpaid' AND customer <> 'Acme'",
        "paid and overdue invoices": "SELECT invoice_no FROM invoices WHERE status IN ('paid', 'overdue')",
        "customers where active is false": "SELECT 'Corvid'",
        "customers in Germany where active is false": "SELECT 'Corvid'",
        "customers founded in 1999": "SELECT 'Corvid'",
        "how many invoices does each customer have": "SELECT customer, count(*) FROM invoices GROUP BY 1",
        "How many invoices are paid?": "SELECT count(*) FROM invoices WHERE status = 'paid'",
        "paid invoices": "SELECT invoice_no FROM invoices WHERE status = 'paid'",
        "unpaid invoices": "SELECT invoice_no FROM invoices WHERE status = 'unpaid'",
        "How many invoices are not paid?": "SELECT count(*) FROM invoices WHERE status <> 'paid'",
        "total amount of the unpaid invoices": "SELECT sum(amount_eur) FROM invoices WHERE status = 'unpaid'",
        "overdue invoices of Acme": "SELECT invoice_no FROM invoices WHERE status = 'overdue' AND customer = 'Acme'",
        "total amount per customer": "SELECT customer, sum(amount_eur) FROM invoices GROUP BY 1",
        "average amount of the invoices of Corvid": "SELECT avg(amount_eur) FROM invoices WHERE customer = 'Corvid'",
        "invoices with an amount above 1000": "SELECT invoice_no FROM invoices WHERE amount_eur > 1000",
        "invoices over 1000 euros": "SELECT invoice_no FROM invoices WHERE amount_eur > 1000",
        "invoices over €1,000": "SELECT invoice_no FROM invoices WHERE amount_eur > 1000",
        "the amount of INV-004": "SELECT amount_eur FROM invoices WHERE invoice_no = 'INV-004'",
        "invoices issued in 2023": "SELECT invoice_no FROM invoices WHERE issued LIKE '2023%'",
        "how many invoices were issued after March 2024": "SELECT count(*) FROM invoices WHERE issued >= '2024-04'",
        "invoices due before 2024-03-01": "SELECT invoice_no FROM invoices WHERE due_date < '2024-03-01'",
        "active customers": "SELECT customer FROM customers WHERE active = 'true'",
        "how many customers are active": "SELECT count(*) FROM customers WHERE active = 'true'",
        "customers that are not active": "SELECT customer FROM customers WHERE active = 'false'",
        "customers founded after 2000": "SELECT customer FROM customers WHERE founded > 2000",
        "customers in Germany": "SELECT customer FROM customers WHERE country = 'Germany'",
        "which customer has the most invoices": "SELECT 'Acme'",
        "the 2 largest invoices by amount": "SELECT invoice_no, amount_eur FROM invoices WHERE amount_eur > 2000",
        "invoices of customers in Norway": "SELECT invoice_no FROM invoices WHERE customer = 'Borealis'",
    },
    "products": {
        "highest rating": "SELECT product, rating FROM products WHERE rating = 4.8",
        "which product is the most expensive in Stationery": "SELECT 'Fountain Pen'",
        "products cheaper than 10 dollars": "SELECT product FROM products WHERE price_usd < 10",
        "products that aren't discontinued": "SELECT product FROM products WHERE discontinued = 0",
        "products with price 24": "SELECT 'Fountain Pen'",
        "price of A-1": "SELECT product, price_usd FROM products WHERE sku = 'A-1'",
        "products not in Furniture": "SELECT product FROM products WHERE category <> 'Furniture'",
        "lowest stock": "SELECT product, stock FROM products WHERE stock = 0",
        "cheapest product": "SELECT product, price_usd FROM products WHERE product = 'Notebook'",
        "most expensive product": "SELECT product, price_usd FROM products WHERE product = 'Standing Desk'",
        "discontinued products": "SELECT product FROM products WHERE discontinued = 1",
        "how many products are not discontinued": "SELECT count(*) FROM products WHERE discontinued = 0",
        "How many products are in Lighting?": "SELECT count(*) FROM products WHERE category = 'Lighting'",
        "products under 20 dollars": "SELECT product FROM products WHERE price_usd < 20",
        "How much does the Desk Lamp cost?": "SELECT price_usd FROM products WHERE product = 'Desk Lamp'",
        "the price of the Office Chair": "SELECT price_usd FROM products WHERE product = 'Office Chair'",
        "products with the lowest rating": "SELECT product, rating FROM products WHERE rating = 3.9",
        "average rating per category": "SELECT category, avg(rating) FROM products GROUP BY 1",
        "total stock": "SELECT sum(stock) FROM products",
        "what categories are there": "SELECT DISTINCT category FROM products",
        "how many different categories are there": "SELECT count(DISTINCT category) FROM products",
        "products in Furniture with a price below 300": (
            "SELECT product FROM products WHERE category = 'Furniture' AND price_usd < 300"
        ),
        "products with a stock of 0": "SELECT product FROM products WHERE stock = 0",
        "maximum price in Stationery": "SELECT max(price_usd) FROM products WHERE category = 'Stationery'",
        "products ordered by price descending": "SELECT product, price_usd FROM products",
        "the 3 cheapest products": (
            "SELECT product, price_usd FROM products WHERE price_usd < 20 UNION SELECT 'Fountain Pen', 24.0"
        ),
        "price and stock of the Stapler": "SELECT price_usd, stock FROM products WHERE product = 'Stapler'",
    },
    "tickets": {
        "status of ticket 101": "SELECT title, status FROM tickets WHERE id = 101",
        "open tickets by Nadia": "SELECT title FROM tickets WHERE status = 'open' AND assignee = 'Nadia'",
        "tickets that are high priority and open": (
            "SELECT title FROM tickets WHERE status = 'open' AND priority = 'high'"
        ),
        "assignee with the most tickets": "SELECT DISTINCT assignee FROM tickets WHERE assignee <> ''",
        "all tickets except closed": "SELECT title FROM tickets WHERE status <> 'closed'",
        "tickets with 0 hours": "SELECT 'Dark mode'",
        "newest open ticket": "SELECT 'Dark mode', '2024-03-21'",
        "open tickets": "SELECT title FROM tickets WHERE status = 'open'",
        "how many tickets are open": "SELECT count(*) FROM tickets WHERE status = 'open'",
        "open tickets with high priority": "SELECT title FROM tickets WHERE status = 'open' AND priority = 'high'",
        "high priority tickets": "SELECT title FROM tickets WHERE priority = 'high'",
        "how many tickets are not closed": "SELECT count(*) FROM tickets WHERE status <> 'closed'",
        "tickets opened in 2023": "SELECT title FROM tickets WHERE opened LIKE '2023%'",
        "how many tickets were opened in March 2024": "SELECT count(*) FROM tickets WHERE opened LIKE '2024-03%'",
        "tickets assigned to Mei": "SELECT title FROM tickets WHERE assignee = 'Mei'",
        "total hours of the closed tickets": "SELECT sum(hours) FROM tickets WHERE status = 'closed'",
        "how many tickets per status": "SELECT status, count(*) FROM tickets GROUP BY 1",
        "number of open tickets per priority": (
            "SELECT priority, count(*) FROM tickets WHERE status = 'open' GROUP BY 1"
        ),
        "tickets that are in progress": "SELECT title FROM tickets WHERE status = 'in progress'",
        "tickets with more than 4 hours": "SELECT title FROM tickets WHERE hours > 4",
        "What is the status of Slow search?": "SELECT status FROM tickets WHERE title = 'Slow search'",
    },
    "school": {
        "grade of Ada in Maths": "SELECT student, grade FROM students WHERE student = 'Ada' AND subject = 'Maths'",
        "students in 7A": "SELECT DISTINCT student FROM students WHERE class = '7A'",
        "students in Maths or History": "SELECT DISTINCT student FROM students",
        "what subjects are there": "SELECT DISTINCT subject FROM students",
        "average grade in Maths": "SELECT avg(grade) FROM students WHERE subject = 'Maths'",
        "average grade of Ada": "SELECT avg(grade) FROM students WHERE student = 'Ada'",
        "average grade per subject": "SELECT subject, avg(grade) FROM students GROUP BY 1",
        "highest grade in Maths": "SELECT student, grade FROM students WHERE grade = 91",
        "how many different students are there": "SELECT count(DISTINCT student) FROM students",
        "students with a grade above 80 in History": (
            "SELECT student FROM students WHERE grade > 80 AND subject = 'History'"
        ),
    },
}
"""These are answered, and right."""

REFUSED: dict[str, dict[str, str]] = {
    "projects": {
        "paid projects": "paid",
        "projects that are paid": "paid",
        "sold projects": "sold",
        "new projects": "new",
        "projects that are new": "new",
        "staff in 2021": "start_date.*end_date",
        "sum of codes": "sum",
        "salary of the owner of Alpha": "belong together",
    },
    "staff": {
        "employees with a manager": "",
        "how many remote": "",
        "employees with A in their name": "name",
        "department with the fewest employees": "fewest",
        "employees hired from 2020 to 2022": "2020",
        "employees hired before Anna Keller": "before",
        "how many employees have children": "children",
        "employees living in Sales": "living",
        "employees located in Sales": "located",
        "employees who speak Sales": "speak",
        "Is Anna Keller remote?": "",
        "Where is Anna Keller?": "",
        "where is the employee with the highest salary": "[Ww]here",
        "second highest salary": "second",
        "half of the employees": "half",
        "what percentage of employees is remote": "percentage",
        "10% of employees": "",
        "employees in both Sales and Support": "both",
        "employees in Sales or remote": "or",
        "employees who are neither remote nor in Sales": "neither",
        "employees hired last year": "last",
        "employees hired in March": "[Mm]arch",
        "employees hired on 03/04/2020": "03",
        "employees in 2019": "hire_date",
        "employees above average salary": "above",
        "these employees": "these",
        "employees not in Sales or Support": "",
        "difference between the salary of Anna Keller and Tom Berg": "difference",
        "ratio of remote employees": "ratio",
        "sum of employee_id": "",
        "employees with a salary over 50.000": "50.000",
        "employees with a salary over 70000 dollars": "usd",
        "who can work remotely": "",
        "most of the employees": "",
        "do any employees have children": "",
        "employees without Sales": "",
        "employees who only work in Sales": "only",
        "employees earning more than Anna Keller": "",
        "the first 3 employees": "first",
        "oldest employee": "oldest",
        "largest department": "",
        "employees with no children": "no",
        "employees with a salary != 5": "",
        "employees with remote": "remote",
        "not all employees are remote": "",
        "employees that are not remote in Sales and Support": "",
        "how many employees are not remote or in Sales": "",
        "how many remote employees are not": "not",
        "employees hired within 2 years": "",
        "employees hired by 2020": "",
        "employees hired 2019 or 2020": "",
    },
    "invoices": {
        "amount of 2023": "2023",
        "invoices of living customers in Norway": "living",
        "largest invoice count": "",
        "invoices over 2023": "over",
        "invoices of 2023": "2023",
        "invoices that are not paid and not overdue": "not",
        "customers with unpaid invoices": "invoices",
        "latest invoice": "issued.*due_date",
        "invoices in 2023": "issued.*due_date",
        "invoices paid in 2024": "paid",
        "who paid the most": "",
        "who has the largest amount in invoices": "[Ww]ho",
        "invoices between 2023 and 2024": "issued.*due_date",
        "total of the invoice numbers": "",
        "how many customers have unpaid invoices": "invoices",
        "average founded": "average",
        "total founded of the customers": "total",
        "late invoices": "late",
        "invoices from the last 30 days": "last",
        "paid and unpaid amount": "",
        "without Acme": "",
    },
    "products": {
        "products in stock": "stock",
        "products with low stock": "low",
        "the third cheapest product": "third",
        "products with a rating": "rating",
        "largest product": "",
        "best product": "best",
        "products that are out of stock": "out",
        "sum of sku": "",
        "half price products": "half",
        "how many products cost": "",
        "total rating of discontinued and Lighting products or Furniture": "",
        "products with a discount": "discount",
        "top products": "top",
        "products compared": "",
        "products using Lighting": "using",
    },
    "tickets": {
        "tickets opened by Mei": "by",
        "tickets opened last week": "last",
        "tickets in 2024": "opened",
        "open vs closed tickets": "vs",
        "tickets closed in 2024": "closed",
        "oldest open ticket": "oldest",
        "sum of the id": "sum",
        "average id of open tickets": "average",
        "unassigned tickets": "unassigned",
        "tickets that are not open and high priority": "",
        "tickets without Mei or Ravi": "",
        "open": "",
    },
    "school": {
        "students not in Maths": "Maths",
        "students in Maths and History": "both",
        "exams in June 2024": "table",
        "how many grades does Ada have": "",
        "students with a grade above average": "",
        "how many students are there": "several rows",
        "number of students in 7A": "several rows",
        "who passed": "passed",
        "students in both Maths and History": "both",
    },
}
"""These are not answered: what would be given is something else than what was asked. With what the reason names."""

EITHER: dict[str, dict[str, str]] = {
    "staff": {
        "Who works in Support?": "SELECT name FROM employees WHERE department = 'Support'",
        "salary over 2019": "SELECT name FROM employees",
        "salary not of Anna Keller": "SELECT name, salary_eur FROM employees WHERE name <> 'Anna Keller'",
    },
    "invoices": {
        "invoices that Acme has not paid": (
            "SELECT invoice_no FROM invoices WHERE customer = 'Acme' AND status <> 'paid'"
        ),
    },
}
"""These may be refused, and are never answered otherwise."""

READINGS: dict[str, dict[str, str]] = {
    "invoices": {"invoices in 2023": "3 2", "how many invoices in 2024": "1 1"},
    "school": {"how many students are there": "1 1"},
}
"""These mean a few things: with the number of rows of each."""
