"""Hosts that belong to everybody: a domain indicator on one of them would hit good mail.

As they occur both in phish and in daily mail, and as careless lists name them. Hosts that the
Public Suffix List knows (blogspot.com, github.io, …) need no entry here. MISP's warninglists name
most of these, too: here they count without.
"""

from __future__ import annotations

from typing import Final

_HOSTS = """
bit.ly bitly.com buff.ly cutt.ly dlvr.it fb.me goo.gl goo.su ift.tt is.gd j.mp lnkd.in
ow.ly qr.codes rb.gy rebrand.ly s.id shorturl.at t.co t.ly t.me tiny.cc tinyurl.com
trib.al urlz.fr v.gd x.co youtu.be

126.com 163.com aol.com gmail.com gmx.com gmx.de gmx.net googlemail.com hotmail.co.uk
hotmail.com hotmail.de hotmail.fr icloud.com live.com mac.com mail.com mail.ru me.com msn.com
outlook.com proton.me protonmail.com qq.com rocketmail.com t-online.de web.de yahoo.co.jp
yahoo.co.uk yahoo.com yahoo.de yahoo.fr yandex.com yandex.ru ymail.com zoho.com

forms.gle g.co google.com *.google.com googleapis.com *.googleapis.com googlegroups.com
googleusercontent.com ci3.googleusercontent.com ci4.googleusercontent.com
ci5.googleusercontent.com ci6.googleusercontent.com lh3.googleusercontent.com
lh4.googleusercontent.com lh5.googleusercontent.com lh6.googleusercontent.com
gstatic.com withgoogle.com youtube.com *.youtube.com

1drv.com 1drv.ms aka.ms azure.com azureedge.net azurewebsites.net *.live.com
microsoft.com *.microsoft.com microsoftonline.com *.microsoftonline.com msecnd.net
office.com *.office.com office.net *.office.net office365.com *.office365.com sway.com

adobe.com *.adobe.com airtable.com amazon.com *.amazon.com amazonaws.com apple.com
*.apple.com box.com *.box.com calendly.com canva.com *.canva.com cloudflare.com
cloudfront.net constantcontact.com *.constantcontact.com discord.com docusign.com
*.docusign.com docusign.net *.docusign.net dropbox.com *.dropbox.com
dropboxusercontent.com ebay.com evernote.com *.evernote.com facebook.com *.facebook.com
fastly.net figma.com getresponse.com github.com *.github.com githubusercontent.com
*.githubusercontent.com gitlab.com gravatar.com hubspot.com instagram.com *.instagram.com
issuu.com jotform.com *.jotform.com linkedin.com *.linkedin.com
mailchi.mp mailchimp.com *.mailchimp.com mediafire.com mega.nz netflix.com
notion.site notion.so pastebin.com paypal.com *.paypal.com pinterest.com reddit.com
salesforce.com sendspace.com slack.com *.slack.com soundcloud.com spotify.com
surveymonkey.com *.surveymonkey.com telegram.org trello.com tumblr.com twitter.com
*.twitter.com typeform.com vimeo.com wa.me we.tl weebly.com wetransfer.com
*.wetransfer.com whatsapp.com *.whatsapp.com wikipedia.org *.wikipedia.org wix.com
wixsite.com wordpress.com wordpress.org x.com zendesk.com zoom.us *.zoom.us

archive.org *.archive.org baidu.com bing.com *.bing.com cloudflare-ipfs.com duckduckgo.com
dweb.link ipfs.io translate.goog
"""

SHARED_HOSTS: Final = tuple(_HOSTS.split())
"""URL shorteners, free mail, the large offices and file sharing, forms and large sites, search.
``*.`` in front means every sub-domain."""

_CUSTOMERS_BELOW: Final = """
blogspot.ca blogspot.co.uk blogspot.com.au blogspot.com.br blogspot.com.es blogspot.de blogspot.fr
blogspot.in blogspot.it blogspot.ru angelfire.com bigcartel.com bigcommerce.com business.site
cafe24.com canalblog.com canva.site company.site edublogs.org exblog.jp fandom.com fc2.com
freeservers.com freewebs.com getcourse.ru gitbook.io googlepages.com home.blog homestead.com
itch.io jimdofree.com jimdosite.com livejournal.com multiscreensite.com myinsales.ru over-blog.com
readthedocs.org shop-pro.jp site123.me squarespace.com storeland.ru strikingly.com substack.com
teachable.com thinkific.com tilda.ws tistory.com tripod.com typepad.com ucoz.ru webnode.com
webs.com website-files.com wikidot.com wikispaces.com

a2hosting.com aliyuncs.com appdomain.cloud awsapprunner.com azure-devices.net b-cdn.net beget.tech
cachefly.net chinacloudapi.cn cleverwebserver.com cloudhub.io contaboserver.net filesusr.com
firebaseio.com free.fr home.pl homeserver.com hosted-by-discourse.com hoster.kz huaweicloud.com
inmotionhosting.com kxcdn.com linode.com managed-vps.net msappproxy.net mycloud.com
myftpupload.com myhuaweicloud.com mypinata.cloud myqcloud.com mysecurecloudhost.com
namecheaphosting.com nazwa.pl netlify.com nip.io ovh.net quickconnect.to rackcdn.com
remotewebaccess.com run.app secureserver.net selcloud.ru so-net.ne.jp sprinthost.ru sureserver.com
timeweb.ru visualstudio.com volces.com webhostbox.net websitewelcome.com windows.net wpengine.com
xserver.jp xsrv.jp your-server.de

activehosted.com app-us1.com app.link auth0.com awstrack.me b2clogin.com ck.page clickmeeting.com
cmail19.com cmail20.com dynamics.com en25.com force.com formstack.com freshdesk.com helpshift.com
hs-sites.com hubspotpagebuilder.com hubspotusercontent-na1.net list-manage.com lnk.to
mandrillapp.com medium.com microsoftcrmportals.com odoo.com okta.com ondemand.com onelink.me
onmicrosoft.com page.link pardot.com powerapps.com qualtrics.com salesforce-sites.com sendgrid.net
sharefile.com sharepoint.com sharepoint.us sibforms.com site.com siteforce.com sl.pt sng.link
statuspage.io uservoice.com wufoo.com
"""
CUSTOMERS_BELOW: Final = frozenset(_CUSTOMERS_BELOW.split())
"""Hosts, shared too, whose customers choose the names below: those are the customers', whoever
is known to run the host. Site builders and blogs; hosting; services with a name for each customer.

Only those that neither the Public Suffix List nor a warninglist of hosting names: found by their
sub-domains in published phishing lists and among the most visited hosts.
"""
