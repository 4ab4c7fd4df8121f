"""Tables of Mautic and AcelleMail as far as an import reads them, with rows: names, types and nullability as those programs make them."""

# By the metadata of Mautic's entities (5.x): strings are VARCHAR(191), texts, arrays and JSON are LONGTEXT, booleans TINYINT(1), and contacts have BIGINT ids.
MAUTIC = """
CREATE TABLE mt_leads (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, is_published TINYINT(1) NOT NULL DEFAULT 1, date_added DATETIME, owner_id INT UNSIGNED, points INT NOT NULL DEFAULT 0,
  firstname VARCHAR(191), lastname VARCHAR(191), email VARCHAR(191), city VARCHAR(191), website VARCHAR(191)) DEFAULT CHARSET utf8mb4;
CREATE TABLE mt_lead_lists (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, is_published TINYINT(1) NOT NULL, name VARCHAR(191) NOT NULL, description LONGTEXT, alias VARCHAR(191) NOT NULL, public_name VARCHAR(191) NOT NULL,
  filters LONGTEXT NOT NULL, is_global TINYINT(1) NOT NULL, is_preference_center TINYINT(1) NOT NULL, last_built_date DATETIME) DEFAULT CHARSET utf8mb4;
CREATE TABLE mt_lead_lists_leads (leadlist_id INT UNSIGNED NOT NULL, lead_id BIGINT UNSIGNED NOT NULL, date_added DATETIME NOT NULL, manually_removed TINYINT(1) NOT NULL, manually_added TINYINT(1) NOT NULL, PRIMARY KEY (leadlist_id, lead_id));
CREATE TABLE mt_lead_donotcontact (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, lead_id BIGINT UNSIGNED, date_added DATETIME NOT NULL, reason SMALLINT NOT NULL, channel VARCHAR(191) NOT NULL, channel_id INT, comments LONGTEXT) DEFAULT CHARSET utf8mb4;
CREATE TABLE mt_lead_categories (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, category_id INT UNSIGNED NOT NULL, lead_id BIGINT UNSIGNED NOT NULL, date_added DATETIME NOT NULL, manually_removed TINYINT(1) NOT NULL, manually_added TINYINT(1) NOT NULL);
CREATE TABLE mt_emails (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, category_id INT UNSIGNED, translation_parent_id INT UNSIGNED, variant_parent_id INT UNSIGNED, is_published TINYINT(1) NOT NULL, name VARCHAR(191) NOT NULL, subject LONGTEXT,
  preheader_text VARCHAR(191), from_address VARCHAR(191), from_name VARCHAR(191), reply_to_address VARCHAR(191), bcc_address VARCHAR(191), use_owner_as_mailer TINYINT(1), template VARCHAR(191), content LONGTEXT, plain_text LONGTEXT,
  custom_html LONGTEXT, email_type LONGTEXT, publish_up DATETIME, read_count INT NOT NULL, sent_count INT NOT NULL, revision INT NOT NULL, lang VARCHAR(191) NOT NULL, dynamic_content LONGTEXT, headers LONGTEXT NOT NULL) DEFAULT CHARSET utf8mb4;
CREATE TABLE mt_email_list_xref (email_id INT UNSIGNED NOT NULL, leadlist_id INT UNSIGNED NOT NULL, PRIMARY KEY (email_id, leadlist_id));
CREATE TABLE mt_email_list_excluded (email_id INT UNSIGNED NOT NULL, leadlist_id INT UNSIGNED NOT NULL, PRIMARY KEY (email_id, leadlist_id));
CREATE TABLE mt_email_stats (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, email_id INT UNSIGNED, lead_id BIGINT UNSIGNED, email_address VARCHAR(191) NOT NULL, date_sent DATETIME NOT NULL, is_failed TINYINT(1) NOT NULL);
CREATE TABLE mt_message_queue (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, lead_id BIGINT UNSIGNED NOT NULL, channel VARCHAR(191) NOT NULL, channel_id INT UNSIGNED NOT NULL, priority SMALLINT NOT NULL, max_attempts SMALLINT NOT NULL, attempts SMALLINT NOT NULL, success TINYINT(1) NOT NULL, status VARCHAR(191) NOT NULL) DEFAULT CHARSET utf8mb4;
INSERT INTO mt_leads (id, firstname, lastname, email, city, website) VALUES (1, 'Änn', 'O''Hara', 'ann@example.com', 'Köln & <Porz>', 'x y'), (2, NULL, NULL, 'bob@example.com', NULL, NULL), (3, 'Cy', 'Removed', 'cy@example.com', NULL, NULL),
  (4, 'Di', 'Unsubscribed', 'di@example.com', NULL, NULL), (5, 'Ed', 'Bounced', 'ed@example.com', NULL, NULL), (6, 'Flo', 'Mailed', 'flo@example.com', NULL, NULL), (7, 'Gil', 'Excluded', 'gil@example.com', NULL, NULL),
  (8, 'Hal', 'Category', 'hal@example.com', NULL, NULL), (9, 'Ivy', 'Other', 'ivy@example.com', NULL, NULL), (10, 'Joe', 'Nowhere', NULL, NULL, NULL), (11, 'Kim', 'By text', 'kim@example.com', '', NULL), (12, 'Lee', 'Marked', 'lee@example.com', NULL, NULL), (13, 'Mo', 'Variant', 'mo@example.com', NULL, NULL), (14, 'Ned', 'Queued', 'ned@example.com', NULL, NULL);
INSERT INTO mt_lead_lists VALUES (1, 1, 'Customers, all', NULL, 'customers', 'Customers', 'a:0:{}', 1, 0, NULL), (2, 1, 'Others', NULL, 'others', 'Others', 'a:0:{}', 1, 0, NULL), (3, 1, 'Staff', NULL, 'staff', 'Staff', 'a:0:{}', 1, 0, NULL);
INSERT INTO mt_lead_lists_leads SELECT 1, id, '2026-01-01 00:00:00', id = 3, 0 FROM mt_leads WHERE id <> 9;
INSERT INTO mt_lead_lists_leads VALUES (2, 9, '2026-01-01 00:00:00', 0, 0), (3, 7, '2026-01-01 00:00:00', 0, 0);
INSERT INTO mt_lead_donotcontact (lead_id, date_added, reason, channel, comments) VALUES (4, '2026-02-03 04:05:06', 1, 'email', 'clicked, "bye"'), (5, '2026-02-03 04:05:06', 2, 'email', NULL), (11, '2026-02-03 04:05:06', 1, 'sms', NULL), (12, '2026-02-03 04:05:06', 3, 'email', NULL), (NULL, '2026-02-03 04:05:06', 1, 'email', NULL);
INSERT INTO mt_lead_categories (category_id, lead_id, date_added, manually_removed, manually_added) VALUES (5, 8, '2026-01-01 00:00:00', 1, 0);
INSERT INTO mt_email_stats (email_id, lead_id, email_address, date_sent, is_failed) VALUES (1, 6, 'flo@example.com', '2026-01-01 00:00:00', 0), (2, 1, 'ann@example.com', '2026-01-01 00:00:00', 0), (4, 13, 'mo@example.com', '2026-01-01 00:00:00', 0);
INSERT INTO mt_message_queue (lead_id, channel, channel_id, priority, max_attempts, attempts, success, status) VALUES (14, 'email', 1, 2, 3, 1, 0, 'rescheduled'), (1, 'email', 1, 2, 3, 1, 1, 'sent');
INSERT INTO mt_emails (id, category_id, variant_parent_id, is_published, name, subject, preheader_text, from_address, from_name, reply_to_address, template, plain_text, custom_html, email_type, read_count, sent_count, revision, lang, headers) VALUES
  (1, 5, NULL, 1, 'Spring', 'Hello {contactfield=firstname|friend}', 'Roses for {contactfield=firstname|you}', 'news@news.example.com', 'Example News', 'reply@news.example.com', 'blank', 'Hi {contactfield=firstname|friend}, bye: {unsubscribe_url}',
   '<style>a{color:red}</style><p title="{contactfield=city}">Dear {contactfield=firstname|friend}, in {contactfield=city|your town}. {subject}</p><a href="https://x.example/?q=%7Bcontactfield=website|true%7D">x</a>{tracking_pixel}{unsubscribe_text}', 'list', 0, 1, 1, 'en', '[]'),
  (2, NULL, NULL, 0, 'Dynamic', 'News', NULL, NULL, NULL, NULL, 'blank', NULL, '<p>{dynamiccontent="Hero"} {webview_text} {contactfield=gone}</p>', 'list', 0, 0, 1, 'en', '[]'),
  (3, NULL, NULL, 1, 'Welcome', 'Welcome', NULL, NULL, NULL, NULL, 'blank', NULL, '<p>x</p>', 'template', 0, 0, 1, 'en', '[]'), (4, NULL, 1, 1, 'Spring B', 'B', NULL, NULL, NULL, NULL, 'blank', NULL, '<p>x</p>', 'list', 0, 0, 1, 'en', '[]'),
  (5, NULL, NULL, 1, 'Themed', 'T', NULL, NULL, NULL, NULL, 'goldstar', NULL, NULL, 'list', 0, 0, 1, 'en', '[]');
INSERT INTO mt_email_list_xref VALUES (1, 1), (2, 1), (4, 1), (5, 2);
INSERT INTO mt_email_list_excluded VALUES (1, 3)
"""

# As its documentation and published copies of its schema name them; one column is nobody's.
ACELLEMAIL = """
CREATE TABLE sending_servers (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, uid CHAR(36) NOT NULL, admin_id INT UNSIGNED, customer_id INT UNSIGNED, name VARCHAR(191) NOT NULL, type VARCHAR(191) NOT NULL, host VARCHAR(191), aws_access_key_id VARCHAR(191),
  aws_secret_access_key VARCHAR(191), aws_region VARCHAR(191), domain VARCHAR(191), api_key VARCHAR(191), smtp_username VARCHAR(191), smtp_password TEXT, smtp_port INT, smtp_protocol VARCHAR(191), sendmail_path VARCHAR(191),
  quota_value INT, quota_base INT, quota_unit VARCHAR(191), status VARCHAR(191), moon_phase VARCHAR(191), created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL) DEFAULT CHARSET utf8mb4;
CREATE TABLE plans (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, uid CHAR(36) NOT NULL, admin_id INT UNSIGNED, name VARCHAR(191) NOT NULL, status VARCHAR(191), options TEXT) DEFAULT CHARSET utf8mb4;
CREATE TABLE plans_sending_servers (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, sending_server_id INT UNSIGNED NOT NULL, plan_id INT UNSIGNED NOT NULL, fitness INT NOT NULL, is_primary TINYINT(1) NOT NULL);
CREATE TABLE mail_lists (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, uid CHAR(36) NOT NULL, name VARCHAR(191) NOT NULL) DEFAULT CHARSET utf8mb4;
CREATE TABLE subscribers (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, mail_list_id INT UNSIGNED NOT NULL, email VARCHAR(191) NOT NULL, status VARCHAR(191) NOT NULL) DEFAULT CHARSET utf8mb4;
CREATE TABLE blacklists (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, email VARCHAR(191) NOT NULL) DEFAULT CHARSET utf8mb4;
INSERT INTO sending_servers (id, uid, name, type, host, smtp_username, smtp_password, smtp_port, smtp_protocol, quota_value, quota_base, quota_unit, status) VALUES (1, 'a', 'Relay A', 'smtp', 'smtp.example.com', 'news', 'hunter2-clear', 587, 'tls', 1000, 1, 'hour', 'active'),
  (2, 'b', 'Relay B', 'smtp', '127.0.0.1', '', '', 2525, '', -1, -1, 'day', 'inactive'), (4, 'd', 'Odd', 'carrier-pigeon', NULL, NULL, NULL, NULL, NULL, 5, 1, 'moon', 'active');
INSERT INTO sending_servers (id, uid, name, type, aws_access_key_id, aws_secret_access_key, aws_region, quota_value, quota_base, quota_unit, status) VALUES (3, 'c', 'SES', 'amazon-api', 'AKIAEXAMPLE', 'eyJpdiI6ImVuY3J5cHRlZCJ9', 'eu-west-1', 14, 1, 'second', 'active');
INSERT INTO plans (id, uid, name, status) VALUES (1, 'p', 'Pro', 'active'), (2, 'q', 'Empty', 'active');
INSERT INTO plans_sending_servers (sending_server_id, plan_id, fitness, is_primary) VALUES (1, 1, 70, 1), (2, 1, 25, 0), (3, 1, 5, 0), (4, 2, 100, 1);
INSERT INTO mail_lists VALUES (1, 'l', 'News');
INSERT INTO subscribers (mail_list_id, email, status) VALUES (1, 'ann@example.com', 'subscribed'), (1, 'bob@example.com', 'unsubscribed'), (1, 'cy@example.com', 'spam-reported');
INSERT INTO blacklists (email) VALUES ('eve@example.com')
"""
