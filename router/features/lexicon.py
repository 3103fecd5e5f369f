# ruff: noqa: E501  (a row is read across its three columns)
"""The words that tell what a request asks for, in English and both Chinese scripts side by side.

A cue is a row: its name, then English, simplified and traditional phrases, parted by `|`. English
phrases are matched as whole words, Chinese ones as a text (router.features.phrases); all lower case. Phrases are common ways to ask, not topics: a topic belongs to the words of the material.
Traditional columns use Taiwan's terms beside the mainland's (`程式碼` and `代碼`).

To add a cue: one row with all three columns; to add a phrase, add its counterparts. That a row means
something is said in `classify/weights.py`, by its name.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Cue:
    name: str
    en: str
    hans: str
    hant: str


CUES: Final = (
    # what small models do well
    Cue("classify",
        "classify|classification|categorize|categorise|which category|what category|categories|label the|label this|label each|label only|labels|tag the|tag this|intent|which team|which queue|which department|which support queue|into one of|one of:|spam|topic of|belongs to|fact or opinion|route to|route this|assign a priority|priority for|pick one|or not|tell if|tell me if|tell me whether|detect if|identify if|whether the|candidates|choose the best category|categories include|predict the",
        "分类|归类|类别|标签|意图|属于哪|属于什么|哪一类|哪类|分到|归到|归为|转给哪|哪个部门|哪个组|垃圾邮件|判断以下|判断下面|判断该|主题是什么|优先级|事实还是|选一个|分流|识别|是否|是不是|候选|检测下|检测以下",
        "分類|歸類|類別|標籤|意圖|屬於哪|屬於什麼|哪一類|哪類|分到|歸到|歸為|轉給哪|哪個部門|哪個組|垃圾郵件|判斷以下|判斷下面|判斷該|主題是什麼|優先級|事實還是|選一個|分流|識別|是否|是不是|候選|檢測下|檢測以下"),
    Cue("sentiment",
        "sentiment|positive or negative|positive, negative|positive/negative|negative or positive|tone of|rate the tone|emotion|emotions|happy or|angry or|satisfied or|what feeling|how does the customer feel|score the|score this review|mood of|polarity|favourable|unfavourable",
        "情感|情绪|正面还是|正面或|正面、|正面/|正面，|褒义|贬义|好评|差评|语气|积极还是|消极|满意还是|什么感受|什么心情|高兴还是|态度是|打分|评几分|倾向|褒贬",
        "情感|情緒|正面還是|正面或|正面、|正面/|正面，|褒義|貶義|好評|差評|語氣|積極還是|消極|滿意還是|什麼感受|什麼心情|高興還是|態度是|打分|評幾分|傾向|褒貶"),
    Cue("extract",
        "extract|pull out|pull the|find the name|find the phone|get the|list the people|list the names|list all|names of|mentioned|according to the text|in the text|in this message|in the message|copy it exactly|copy exactly|from the passage|from the text|from the following|from the message|in the passage|find all dates|key information|based on the passage|answer the question|read the|keywords|quote the|copy the",
        "提取|抽取|摘出|找出|抄出|列出文中|列出所有|文中|根据短文|根据文本|根据文章|根据下面|根据以下|基于给定|给定的文本|这段话里|这句话里|从下面|从以下|从这|原样|关键信息|信息抽取|回答以下|回答下面|回答问题|阅读|关键词|根据给定|给定的|照抄|抄下来",
        "提取|抽取|摘出|找出|抄出|列出文中|列出所有|文中|根據短文|根據文本|根據文章|根據下面|根據以下|基於給定|給定的文本|這段話裡|這句話裡|從下面|從以下|從這|原樣|關鍵資訊|資訊擷取|回答以下|回答下面|回答問題|閱讀|關鍵詞|關鍵字|根據給定|給定的|照抄|抄下來|擷取|挑出"),
    Cue("translate",
        "translate|translates|translation|how do you say|how to say|into english|into chinese|to english|to chinese|to spanish|to french|to german|to japanese|into french|into german|into spanish|into japanese|in french|in german|in spanish|in chinese|mean in english|what does the phrase",
        "翻译|译成|译为|译文|用英语|用英文|用法语|用日语|用德语|用中文|怎么说|英译中|中译英|翻成|译一下|什么意思|英文版",
        "翻譯|譯成|譯為|譯文|用英語|用英文|用法語|用日語|用德語|用中文|怎麼說|英譯中|中譯英|翻成|譯一下|什麼意思|英文版"),
    Cue("rewrite",
        "rewrite|rephrase|reword|paraphrase|proofread|grammar|typos|spelling|punctuation|more polite|more formal|more professional|shorten|passive voice|past tense|more concise|edit the|edit this|correct the|fix the typos|replace the|synonym for|make this|make it sound|simplify|merge the|combine the|convert the sentence",
        "改写|重写|润色|校对|语法|错别字|病句|标点|更礼貌|礼貌一点|缩写|缩短|扩写|被动句|书面语|口语|换一种说法|改成|改得|改为|更简洁|更流畅|修改下|修改以下|重新写|重述|替换|编辑以下|简化|合并成|压缩成|简明扼要|句子改|再短|短一点|短点|短些",
        "改寫|重寫|潤飾|潤色|校對|語法|錯字|病句|標點|更禮貌|禮貌一點|縮寫|縮短|擴寫|被動句|書面語|口語|換一種說法|改成|改得|改為|更簡潔|更流暢|修改下|修改以下|重新寫|重述|替換|編輯以下|簡化|合併成|壓縮成|簡明扼要|句子改|再短|短一點|短點|短些"),
    Cue("summarize",
        "summarize|summarise|summary|summaries|summarization|tl;dr|sum up|in one sentence|main idea|main point|key points|headline|title for|gist|in a nutshell|recap",
        "总结|概括|摘要|概述|要点|大意|一句话|标题|归纳|主旨|中心思想|主要内容|提炼|简要",
        "總結|概括|摘要|概述|要點|大意|一句話|標題|歸納|主旨|中心思想|主要內容|提煉|簡要"),
    Cue("moderate",
        "moderate|moderation|moderator|allow or block|toxic|offensive|hate speech|allowed in|violate|violates|inappropriate|keep or remove|be removed|break the rule|no-insults|insult|flag this|harmful",
        "违规|放行|拦截|屏蔽|辱骂|敏感词|不当言论|审核|封禁|有害|骂人|能不能发|该不该删|违反|人身攻击",
        "違規|放行|攔截|屏蔽|封鎖|辱罵|敏感詞|不當言論|審核|封禁|有害|罵人|能不能發|該不該刪|違反|人身攻擊"),
    Cue("structure",
        "json|yaml|csv|xml|key-value|markdown table|markdown list|bullet list|comma separated|as a table|with keys|valid against",
        "json|yaml|csv|xml|键名|键值|键为|markdown|逗号分隔|做成表格|整理为|整理成|格式化|转成",
        "json|yaml|csv|xml|鍵名|鍵值|鍵為|markdown|逗號分隔|做成表格|整理為|整理成|格式化|轉成"),
    Cue("lookup",
        "who is|who was|who wrote|who painted|when did|when was|when is|where is|where are|where do|what is the name|what is a|what time|what year|in which year|which year|which country|which city|capital of|stand for|stands for|opposite of|how old|how tall|how long is|what does|what is the capital|can i|do you|is there a|what language|what nationality|name of|how far|multiple choice|choose the best answer|best answer",
        "是谁|谁是|谁写|作者是|哪年|哪一年|哪里|在哪|哪个国家|哪国|哪座|什么是|叫什么|首都|缩写|的缩写|近义词|反义词|有多高|有多大|多少岁|几点|什么时候|何时|是什么|吗？|可以吗|朝代|哪一个|哪个|单项选择|选择题|选出最佳|最佳答案",
        "是誰|誰是|誰寫|作者是|哪年|哪一年|哪裡|在哪|哪個國家|哪國|哪座|什麼是|叫什麼|首都|縮寫|的縮寫|近義詞|反義詞|有多高|有多大|多少歲|幾點|什麼時候|何時|是什麼|嗎？|可以嗎|朝代|哪一個|哪個|單選題|選擇題|選出最佳|最佳答案"),
    Cue("suggest",
        "suggest|suggestions|recommend|name for|ideas for|tips|give me a|give me some|name three|examples of|list some|list five|a few ways|some ways|things to",
        "推荐|建议|起个名|起名|点子|小贴士|给我一|给出一|列举|举例|列出几|列出5|几种|一些|取个名",
        "推薦|建議|起個名|取名|點子|小撇步|給我一|給出一|列舉|舉例|列出幾|列出5|幾種|一些|取個名"),
    # what they do not
    Cue("prove",
        "prove|proof|proves|derive|derivation|show that|rigorous|rigorously|lemma|theorem|induction|counterexample|closed form|necessary and sufficient|generalise|generalize|if and only if|lean 4|coq|isabelle|formal proof|isomorphism|homomorphism|safety property",
        "证明|求证|推导|定理|引理|归纳法|反例|推广到|充要条件|当且仅当|闭式|通项|严格说明|成立的条件|恒成立|同构|同态|形式化",
        "證明|求證|推導|定理|引理|歸納法|反例|推廣到|充要條件|若且唯若|閉式|通項|嚴格說明|成立的條件|恆成立|同構|同態|形式化"),
    Cue("math",
        "solve|equation|equations|calculate|compute|evaluate the|integral|derivative|probability|triangle|circle|rectangle|prime|primes|polynomial|integer|integers|positive integer|remainder|divisible|fraction|percent|average speed|ratio|matrix|vector|eigenvalue|sum of|product of|number of ways|how many ways|perimeter|radius|area of|volume of|angle|square root|expected value|expected number|permutations|maximum value|minimum value|real numbers|coordinates|sequence|without replacement|digits|zeros|factorial|modulo|value of|minimise|maximise|minimize|maximize|inequality|logarithm|sine|cosine|complex number|arithmetic sequence|geometric series|ellipse|parabola|hyperbola|tangent|intersection|roots|variance|standard deviation|formula for|distribution|bounded|modular",
        "方程|请计算|计算出|计算下|计算以|计算一|计算其|计算每|计算该|计算：|求解|定积分|积分|导数|概率|三角形|圆的|长方形|正方形|质数|素数|多项式|整数|余数|整除|约分|几分之|百分之|百分比|比例|矩阵|向量|特征值|之和|之积|多少种|几种排法|周长|半径|面积|体积|角度|平方根|根号|期望|排列|组合数|最大值|最小值|实数|坐标|数列|不放回|末位|末两位|阶乘|函数f|单调|极值|的值|求出|求a|千米|厘米|分之|倍多|倍少|不等式|对数|正弦|余弦|复数|等差|等比|椭圆|抛物线|双曲线|切线|交点|首项|方差|标准差|公式|概率分布|有界",
        "方程|請計算|計算出|計算下|計算以|計算一|計算其|計算每|計算該|計算：|求解|定積分|積分|導數|機率|三角形|圓的|長方形|正方形|質數|素數|多項式|整數|餘數|整除|約分|幾分之|百分之|百分比|比例|矩陣|向量|特徵值|之和|之積|多少種|幾種排法|周長|半徑|面積|體積|角度|平方根|根號|期望|排列|組合數|最大值|最小值|實數|座標|數列|不放回|末位|末兩位|階乘|函數f|單調|極值|的值|求出|求a|公里|公分|分之|倍多|倍少|不等式|對數|正弦|餘弦|複數|等差|等比|橢圓|拋物線|雙曲線|切線|交點|首項|變異數|標準差|公式|機率分布|有界"),
    Cue("quantity",
        "how many|how much|total|in total|altogether|left over|are left|is left|does he have|does she have|do they have|per hour|per day|per week|each|twice as|times as|half as|half of|a third|more than|fewer than|less than|per person|how fast|cost|costs|earn|earns|spend|spends|profit|save",
        "多少|一共|总共|合计|还剩|剩下|剩余|平均每|每天|每小时|每人|每个|每盒|几个|几只|几倍|比原|的一半|三分之一|比乙|多几|少几|花了|卖了|用了|需要几|几天|几小时|利润|单价",
        "多少|一共|總共|合計|還剩|剩下|剩餘|平均每|每天|每小時|每人|每個|每盒|幾個|幾隻|幾倍|比原|的一半|三分之一|比乙|多幾|少幾|花了|賣了|用了|需要幾|幾天|幾小時|利潤|單價"),
    Cue("code",
        "function|functions|python|javascript|typescript|java|rust|golang|kotlin|c++|sql|postgres|html|css|react|django|bash|linux|command|script|code|program|programming|implement|implementation|algorithm|data structure|class|method|api|endpoint|regex|unit test|unit tests|component|compile|binary tree|array|arrays|tuple|substring|linked list|refactor|async|thread-safe|cache|leetcode|pytest|assertion|docker|kubernetes|git|repo|repository|library|regular expression|cuda|gpu kernel|execution plan|stored procedure|concurrent|lock-free|compiler|parser",
        "函数|python|javascript|typescript|java|rust|golang|c++|sql|postgres|html|css|react|django|bash|linux|命令|脚本|代码|程序|编程|实现一个|实现|算法|数据结构|类名|方法名|api|接口|正则|单元测试|组件|编译|二叉树|数组|列表|子串|链表|重构|异步|线程安全|线程池|并发|缓存|单例|docker|kubernetes|git|代码库|代码仓|数据库|变量|解析器|爬虫|正则表达式|存储过程|执行计划|编译器|无锁",
        "函數|函式|python|javascript|typescript|java|rust|golang|c++|sql|postgres|html|css|react|django|bash|linux|指令|腳本|代碼|程式|程式碼|寫程式|實作一個|實作|實現|演算法|資料結構|類別名|方法名|api|介面|正規表示|單元測試|元件|編譯|二元樹|陣列|列表|子字串|鏈結|重構|非同步|執行緒|並行|快取|單例|docker|kubernetes|git|程式庫|程式碼庫|資料庫|變數|解析器|爬蟲|正規表達式|正規表示式|預存程序|執行計畫|執行計劃|編譯器|無鎖"),
    Cue("debug",
        "bug|bugs|debug|error|errors|exception|traceback|stack trace|crash|crashes|segfault|fails|failing|fail|deadlock|race condition|data race|memory leak|leak|leaks|timeout|timed out|root cause|does not work|doesn't work|not working|flaky|oom|killed|intermittent|intermittently|regression|exit code|sometimes loses|returns null|overflows|wrong with|what is wrong|cannot connect|out of sync|off by one|not found|inconsistent|only since",
        "报错|出错|错误|异常|堆栈|崩溃|段错误|死锁|死循环|竞争|泄漏|泄露|超时|根本原因|根因|不生效|失败|失效|排查|定位问题|调试|偶尔挂|偶尔|挂掉|被杀|卡死|变慢|怎么回事|bug|溢出|问题在哪|有什么问题|怎么修|修复|时好时坏|退出码|连不上|对不上|不一致|找不到模块|才开始",
        "報錯|出錯|錯誤|例外|異常|堆疊|崩潰|當機|死鎖|死循環|無窮迴圈|競爭|洩漏|逾時|根本原因|根因|不生效|失敗|失效|排查|定位問題|除錯|偵錯|偶爾掛|偶爾|掛掉|被殺|卡死|變慢|怎麼回事|bug|溢位|問題在哪|有什麼問題|怎麼修|修復|時好時壞|結束代碼|連不上|對不上|不一致|找不到模組|才開始"),
    Cue("reason",
        "analyze|analyse|analysis|compare|comparison|contrast|evaluate|assess|critique|argue|argument|arguments|trade-off|trade-offs|implications|justify|hypotheses|hypothesis|interpret|judge whether|deduce|infer|puzzle|clues|who is right|consequences|contradict|objection|distinguish|discuss|debate|risk|risks|reconcile|pros and cons|should we|irrational|truth|liar|each person|caused by|because they|correlation|causal|statistically|control group|year over year|confounder|rational|hindsight|paradox|reason about|reason deeply|were to|falsify|falsified|logic puzzle|successes and failures",
        "分析|比较|对比|异同|评价|评估|论证|论述|权衡|利弊|优劣|优缺点|推理|推断|假设|依据|如何看待|对策|辩证|探讨|站得住|谁对|矛盾|反驳|启示|后果|风险|区分|前因后果|说谎|真话|是否合理|批判|辩论|还是因为|意味着|相关性|因果|显著|对照组|环比|同比|逐一验证|理性|事后聪明|悖论|若是|试论|证伪|得失|成败",
        "分析|比較|對比|異同|評價|評估|論證|論述|權衡|利弊|優劣|優缺點|推理|推斷|假設|依據|如何看待|對策|辯證|探討|站得住|誰對|矛盾|反駁|啟示|後果|風險|區分|前因後果|說謊|真話|是否合理|批判|辯論|還是因為|意味著|相關性|因果|顯著|對照組|環比|同比|逐一驗證|理性|後見之明|事後聰明|悖論|若是|試論|證偽|否證|得失|成敗"),
    Cue("plan",
        "plan|planning|roadmap|strategy|itinerary|schedule|timeline|milestones|budget|rollout|roll out|migrate|migration|architecture|design|phases|rollback|curriculum|training plan|marketing|campaign|proposal|onboarding|go-to-market|study plan|business plan|allocate|who does what|week by week|organise|organize|arrange|rota|relocate|what in which order|threat model|threat modelling|threat modeling|fault-tolerant|fault tolerant",
        "计划|规划|路线图|行程|日程|预算|策略|里程碑|上线|迁移|架构|设计|分阶段|回退|回滚|策划|方案|选型|营销|课程表|课表|活动安排|排班|时间表|每周|备考|商业计划|分工|统筹|应急预案|推进|安排|值班表|搬迁|先做什么|威胁建模|容错|高可用",
        "計畫|計劃|規劃|路線圖|行程|日程|預算|策略|里程碑|上線|遷移|架構|設計|分階段|回退|回滾|策劃|企劃|方案|選型|行銷|課程表|課表|活動安排|排班|時間表|每週|備考|商業計畫|分工|統籌|應變計畫|推進|安排|值班表|搬遷|先做什麼|威脅建模|容錯|高可用"),
    Cue("agent",
        "directory|folder|pull request|open a pr|deploy|deploys|watchlist|send invitations|shares of|tweet|archive|rename|move the|compress|grep|current directory|log file|tool|tools|browser|shell|book a|book the|reserve a|place an order|post a|send a message|send an email|cancel my|contact support|log in to|check the|use the|run the|fix it|autonomous|agent|step budget",
        "文件夹|目录|提pr|提交pr|发布到|部署|自选股|加入自选|发邀请|股价|发推|归档|重命名|改名|移到|压缩|拉取|当前目录|日志文件|工具|浏览器|终端|预订|订一|下单|发帖|发到群|发邮件|取消我的|联系客服|登录后台|查一下|导出|运行|修好|自主|智能体|代理",
        "資料夾|目錄|提pr|提交pr|發布到|部署|自選股|加入自選|發邀請|股價|發推|封存|重新命名|改名|移到|壓縮|拉取|目前目錄|日誌檔|工具|瀏覽器|終端|預訂|訂一|下單|發文|發到群|寄信|取消我的|聯絡客服|登入後台|查一下|匯出|執行|修好|自主|代理人|代理"),
    Cue("create",
        "story|short story|poem|poems|essay|lyrics|screenplay|play|speech|novel|sonnet|fiction|blog post|article|dialogue|character|characters|plot|narrative|verse|monologue|script for|letter|review of|chapter|first person|second person|rhyme|rhymes|song|in the style of|toast|limerick|tale|lullaby",
        "故事|首诗|诗歌|写诗|长诗|小说|歌词|剧本|话剧|演讲|作文|散文|议论文|杂文|博客|文章|对话|人物|情节|叙事|章节|独白|相声|书信|一封信|随笔|童话|续写|押韵|第一人称|第二人称|致辞|推文|发言稿|稿子|短文|风格|祝酒词|打油诗|分镜|歌谣",
        "故事|首詩|詩歌|寫詩|長詩|小說|歌詞|劇本|話劇|演講|作文|散文|議論文|雜文|部落格|文章|對話|人物|情節|敘事|章節|獨白|相聲|書信|一封信|隨筆|童話|續寫|押韻|第一人稱|第二人稱|致詞|推文|發言稿|稿子|短文|風格|祝酒詞|打油詩|分鏡|歌謠"),
    Cue("document",
        "report|literature review|agreement|contract|clause|clauses|white paper|manual|policy|guide|draft a|draft the|executive summary|decision memo|feasibility|legal|specification|outline|proposal for|complaint letter|press release|cover letter",
        "报告|综述|协议|合同|条款|白皮书|手册|制度|指南|起草|拟一份|决定书|可行性|法律|规格|提纲|大纲|投诉信|新闻稿|推荐信|文档|申请书",
        "報告|綜述|協議|合約|條款|白皮書|手冊|制度|指南|起草|擬一份|決定書|可行性|法律|規格|提綱|大綱|投訴信|新聞稿|推薦信|文件|申請書"),
    Cue("expert",
        "quantum|molecule|compound|reaction|enzyme|gene|protein|electron|isotope|thermodynamic|entropy|wavelength|velocity|acceleration|kinetic|equilibrium|diagnosis|patient|dose|mg|clinical|symptoms|statute|liability|tenant|landlord|plaintiff|evidence|jurisdiction|inflation|interest rates|regulation|tax|synthesis|nmr|spectrum|mass of|temperature of|energy of|star|genome|inr|defendant|court|lawsuit|sue|deposit|non-compete|insurer|custody|inheritance|eviction|breach|blood pressure|fever|antibiotic|side effects|ibuprofen|surgery|theory of|hypothesis|chemical|physics|act of god|arbitration|demoted|warranty|shareholder|severance|particle|particles|boson|neutrino|photon|hamiltonian|orbital|lattice|redshift|exoplanet|exoplanets|tensor|relativistic|spectroscopy|stereochemistry|enantiomer|isomer|isomers|aldehyde|ketone|chloro|methyl|polymerase|plasmid|chromatin|transcription|antibody|receptor|kinase|mutation|allele|genotype|phenotype|peptide|mrna|pcr|crispr|catalyst|oxidation|titration|pathogenesis|contraindicated|tort|negligence|hearsay|elasticity|amortization|depreciation|mechanism",
        "量子|分子|化合物|反应|酶的|基因|蛋白质|电子|同位素|热力学|熵变|波长|速度|加速度|动能|平衡常数|诊断|患者|剂量|毫克|临床|症状|民法典|赔偿|租客|房东|原告|举证|时效|通胀|利率|条例|税务|税法|合成|光谱|浓度|溶液|摩擦|质量为|电阻|用药|合用|劳动合同|被告|判决|起诉|押金|竞业|理赔|抚养权|继承|违约|血压|发烧|抗生素|副作用|布洛芬|手术|学说|假说|化学式|物理学|不可抗力|仲裁|调岗|保修期|股权|赔偿金|粒子|玻色子|中微子|光子|哈密顿|轨道|晶格|红移|系外行星|张量|相对论|核磁|立体化学|对映体|异构体|醛|酮|氯代|甲基|聚合酶|质粒|染色质|转录|抗体|受体|激酶|突变|等位基因|基因型|表型|肽|逆转录|催化剂|氧化还原|滴定|发病机制|禁忌证|侵权|过失|传闻证据|管辖|弹性系数|摊销|折旧|机理|机制",
        "量子|分子|化合物|反應|酶的|基因|蛋白質|電子|同位素|熱力學|熵變|波長|速度|加速度|動能|平衡常數|診斷|患者|劑量|毫克|臨床|症狀|民法|賠償|租客|房東|原告|舉證|時效|通膨|利率|條例|稅務|稅法|合成|光譜|濃度|溶液|摩擦|質量為|電阻|用藥|併用|勞動契約|被告|判決|起訴|押金|競業|理賠|撫養權|監護權|繼承|違約|血壓|發燒|抗生素|副作用|布洛芬|手術|學說|假說|化學式|物理學|不可抗力|仲裁|調職|保固期|股權|資遣費|粒子|玻色子|微中子|光子|哈密頓|軌域|晶格|紅移|系外行星|張量|相對論|核磁|立體化學|鏡像異構|異構物|醛|酮|氯代|甲基|聚合酶|質體|染色質|轉錄|抗體|受體|激酶|突變|等位基因|基因型|表型|胜肽|反轉錄|催化劑|氧化還原|滴定|致病機轉|禁忌症|侵權|過失|傳聞證據|管轄|彈性係數|攤銷|折舊|機轉|機制"),
    # how much is asked for
    Cue("brief",
        "one word|single word|only|just the|nothing else|no explanation|no explanations|no prose|yes or no|yes/no|answer yes|true or false|one line|one sentence|briefly|short answer|name only|id only|as is|no other text|output 1|output true|a single|in a word",
        "只回|只答|只输出|只写|只返回|只说|一个词|一个字|不要解释|不用解释|是或否|是还是否|一行|仅输出|仅返回|简短|别的不要|直接给|简单回答|两个字|不要说明|只改|只给|其他不要|其他都不要|就好|即可|照抄",
        "只回|只答|只輸出|只寫|只傳回|只說|一個詞|一個字|不要解釋|不用解釋|是或否|是還是否|一行|僅輸出|僅傳回|簡短|別的不要|直接給|簡單回答|兩個字|不要說明|只改|只給|其他不要|其他都不要|就好|即可|照抄"),
    Cue("depth",
        "step by step|in detail|detailed|comprehensive|thorough|thoroughly|in depth|show your work|show each step|edge cases|for each|every|explain each|with reasons|full|complete|in order|all possible|at least three|from scratch|end to end",
        "一步一步|逐步|详细|全面|深入|完整|写出过程|步骤|过程|逐条|逐一|逐句|边界情况|分别|每一步|说明理由|并说明|并解释|所有可能|至少三|从零|全流程|有理有据|每一项|每一条|逐项",
        "一步一步|逐步|詳細|全面|深入|完整|寫出過程|步驟|過程|逐條|逐一|逐句|邊界情況|分別|每一步|說明理由|並說明|並解釋|所有可能|至少三|從零|全流程|有理有據|每一項|每一條|逐項"),
    Cue("bound",
        "must|must not|without|at least|at most|exactly|no more than|cannot|can't|never|unless|except|ensure|constraint|constraints|consider|including|include|given that|assume|subject to|such that|within|above|below|neither|while keeping|do not change|avoiding|but not|nobody",
        "必须|不得|不能|不可|没有|至少|至多|最多|不超过|恰好|恰有|除非|除了|确保|约束|考虑|包括|包含|限制|前提|已知|假定|要求|使得|以内|以上|以下|避免|不要改|同时|且不|谁都不",
        "必須|不得|不能|不可|沒有|至少|至多|最多|不超過|恰好|恰有|除非|除了|確保|約束|考慮|包括|包含|限制|前提|已知|假定|要求|使得|以內|以上|以下|避免|不要改|同時|且不|誰都不"),
    Cue("write",
        "write|compose|draft|generate|create|build|develop|produce|construct|invent",
        "写一|写个|写出|写首|写篇|写份|帮我写|请写|写段|写条|撰写|编写|起草|创作|生成|制作|构思|搭建|开发|拟定|编一",
        "寫一|寫個|寫出|寫首|寫篇|寫份|幫我寫|請寫|寫段|寫條|撰寫|編寫|起草|創作|產生|製作|構思|搭建|開發|擬定|編一"),
    Cue("explain",
        "why|explain|explains|how does|how do|how can|how should|describe|what causes|causes of|how would|elaborate|explanation|effects of|reasons for",
        "为什么|为何|解释|说明|描述|阐述|怎么|如何|怎样|讲讲|谈谈|介绍|原因|影响",
        "為什麼|為何|解釋|說明|描述|闡述|怎麼|如何|怎樣|講講|談談|介紹|原因|影響"),
    Cue("steps",
        "then|after that|first|second|finally|next|also|followed by|and then|once|what should|in which order|what if",
        "然后|之后|首先|其次|最后|接下来|再把|并且|此外|另外|先查|先把|如果|下一步|并列|再写",
        "然後|之後|首先|其次|最後|接下來|再把|並且|此外|另外|先查|先把|如果|下一步|並列|再寫"),
    # where the conversation stands
    Cue("continue",
        "continue|go on|go ahead|keep going|carry on|proceed|next step|what next|and the rest|more please|same for",
        "继续|接着|往下|下一步|然后呢|剩下的|再往后|接下来呢|照这样",
        "繼續|接著|往下|下一步|然後呢|剩下的|再往後|接下來呢|照這樣"),
    Cue("close",
        "thanks|thank you|thx|bye|goodbye|see you|that is all|that's all|hello|hi|good morning|great|perfect|cheers",
        "谢谢|多谢|感谢|再见|回头见|先这样|没别的|你好|您好|早上好|完美|太好了|辛苦了",
        "謝謝|多謝|感謝|再見|回頭見|先這樣|沒別的|你好|您好|早安|完美|太好了|辛苦了"),
)  # fmt: skip

LIGHT: Final = frozenset(
    (
        "classify",
        "sentiment",
        "extract",
        "translate",
        "rewrite",
        "summarize",
        "moderate",
        "structure",
    )
)  # after one of these comes the material it is done to
HEAVY: Final = frozenset(
    ("prove", "math", "code", "debug", "reason", "plan", "agent", "create", "document")
)  # and after one of these, more of the task
