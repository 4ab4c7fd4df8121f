// Sends one message by a vendor's own SDK to an address on this machine: sdk.js VENDOR BASE KEY < message.json
// The message is in no vendor's form: from, to, replyTo, subject, text, html, headers, attachments, mime, domain.
const [vendor, base, key] = process.argv.slice(2);
const message = JSON.parse(require("fs").readFileSync(0, "utf8"));
const full = ({ name, email }) => (name ? `"${name}" <${email}>` : email);
const host = new URL(base).host;

const senders = {
  async sendgrid() {
    const mail = require("@sendgrid/mail");
    mail.setApiKey(key);
    mail.client.setDefaultRequest("baseUrl", base);
    await mail.send({
      from: message.from, to: message.to, replyTo: message.replyTo, subject: message.subject, text: message.text, html: message.html,
      headers: message.headers, customArgs: { mailfleet_run: "first" },
      attachments: message.attachments.map((file) => ({ content: file.base64, filename: file.name, type: file.type, disposition: "attachment" })),
    });
  },
  async mailgun() {
    const Mailgun = require("mailgun.js");
    const client = new (Mailgun.default || Mailgun)(require("form-data")).client({ username: "api", key, url: base });
    await client.messages.create(message.domain, { to: message.to.email, message: Buffer.from(message.mime) });
  },
  async sparkpost() {
    const SparkPost = require("sparkpost");
    const client = new SparkPost(key, { origin: base });
    await client.transmissions.send({
      options: { perform_substitutions: false, open_tracking: false, click_tracking: false, transactional: false },
      recipients: [{ address: { email: message.to.email } }], content: { email_rfc822: message.mime },
    });
  },
  async elasticEmail() {
    const elastic = require("@elasticemail/elasticemail-client");
    const client = elastic.ApiClient.instance;
    client.basePath = `${base}/v4`;
    client.authentications.apikey.apiKey = key;
    const body = {
      Recipients: { To: [full(message.to)] },
      Content: {
        Body: [{ ContentType: "HTML", Content: message.html, Charset: "utf-8" }, { ContentType: "PlainText", Content: message.text, Charset: "utf-8" }],
        From: full(message.from), ReplyTo: full(message.replyTo), Subject: message.subject, Headers: message.headers,
        Attachments: message.attachments.map((file) => ({ BinaryContent: file.base64, Name: file.name, ContentType: file.type })),
      },
    };
    const data = elastic.EmailTransactionalMessageData.constructFromObject(body);
    await new Promise((done, failed) => new elastic.EmailsApi().emailsTransactionalPost(data, (error) => (error ? failed(error) : done())));
  },
  async postmark() {
    const postmark = require("postmark");
    const client = new postmark.ServerClient(key, { requestHost: host, useHttps: false });
    const form = (to) => ({
      From: full(message.from), To: full(to), ReplyTo: full(message.replyTo), Subject: message.subject, TextBody: message.text, HtmlBody: message.html,
      Headers: Object.entries(message.headers).map(([Name, Value]) => ({ Name, Value })), MessageStream: "outbound",
      Attachments: message.attachments.map((file) => ({ Name: file.name, Content: file.base64, ContentType: file.type, ContentID: null })),
    });
    if (message.batch) await client.sendEmailBatch(message.batch.map(form));
    else await client.sendEmail(form(message.to));
  },
  async brevo() {
    const { BrevoClient } = require("@getbrevo/brevo");
    const client = new BrevoClient({ apiKey: key, baseUrl: `${base}/v3`, environment: `${base}/v3`, maxRetries: 0 });
    const version = (to) => ({ to: [to], subject: message.subject, htmlContent: message.html, textContent: message.text, replyTo: message.replyTo, headers: message.headers });
    const single = { sender: message.from, ...version(message.to), attachment: message.attachments.map((file) => ({ content: file.base64, name: file.name })) };
    const several = message.batch && { sender: message.from, subject: message.subject, htmlContent: message.html, textContent: message.text, messageVersions: message.batch.map(version) };
    await client.transactionalEmails.sendTransacEmail(several || single);
  },
};

senders[vendor]().then(() => process.exit(0), (error) => { console.error(error && (error.stack || error.message || error)); process.exit(1); });
