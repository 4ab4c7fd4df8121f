// Signs calls as vendors do, and has the vendors' own libraries verify them: webhook.js < calls.json
// A call is {vendor, key, ...}, all on one list; the answer is a list of {headers, body, verified}. Keys are PEM.
//  sendgrid: publicKey (base64), timestamp, body; verified by Twilio's @sendgrid/eventwebhook.
//  sns: certificate, message (with SignatureVersion), verified by Amazon's sns-validator, whose fetch of the certificate is answered here.
const crypto = require("crypto");
const https = require("https");
const { PassThrough } = require("stream");
const calls = JSON.parse(require("fs").readFileSync(0, "utf8"));

const vendors = {
  async sendgrid({ key, publicKey, timestamp, body }) {
    const { EventWebhook, EventWebhookHeader } = require("@sendgrid/eventwebhook");
    const signature = crypto.sign("sha256", Buffer.from(timestamp + body), key).toString("base64");
    const judge = new EventWebhook();
    const verified = judge.verifySignature(judge.convertPublicKeyToECDSA(publicKey), body, signature, timestamp);
    return { headers: { [EventWebhookHeader.SIGNATURE()]: signature, [EventWebhookHeader.TIMESTAMP()]: timestamp }, body, verified };
  },
  async sns({ key, certificate, message }) {
    const notification = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
    const confirmation = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
    const names = message.Type === "Notification" ? notification : confirmation;
    const signed = names.filter((name) => name in message).map((name) => `${name}\n${message[name]}\n`).join("");
    const algorithm = message.SignatureVersion === "1" ? "RSA-SHA1" : "RSA-SHA256";
    const whole = { ...message, Signature: crypto.sign(algorithm, Buffer.from(signed), key).toString("base64") };
    https.get = (url, answered) => {
      const answer = Object.assign(new PassThrough(), { statusCode: 200 });
      process.nextTick(() => { answered(answer); answer.end(certificate); });
      return { on: () => {} };
    };
    const MessageValidator = require("sns-validator");
    const verified = await new Promise((done) => new MessageValidator().validate({ ...whole }, (error) => done(error ? String(error) : true)));
    const headers = { "content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message.Type, "x-amz-sns-message-id": message.MessageId };
    return { headers, body: JSON.stringify(whole), verified };
  },
};

(async () => {
  const answers = [];
  for (const call of calls) answers.push(await vendors[call.vendor](call));
  process.stdout.write(JSON.stringify(answers));
})();
