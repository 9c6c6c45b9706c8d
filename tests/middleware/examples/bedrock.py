"""A client of Anthropic's Messages API, answered by an application that believes itself to be Amazon Bedrock."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.aws_keys import AwsSigner, StaticKeys
from middleware.bedrock import BedrockMiddleware
from middleware.dispatch import ProviderDispatch
from middleware.route import RouteMiddleware
from providers.bedrock.provider import ANTHROPIC_ON_BEDROCK, BedrockProvider
from providers.bedrock.request import Models
from providers.bedrock.signing import AwsKeys
from providers.registry import Registry
from providers.secret import Secret


async def invoke(request: Request) -> Response:
    signed = request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
    return JSONResponse({"path": request.url.path, "body": await request.json(), "signed": signed})


site = Starlette(routes=[Route("/model/{model}/invoke", invoke, methods=["POST"])])
signer = AwsSigner(StaticKeys([AwsKeys(Secret("AKIAEXAMPLE"), Secret("example-secret"))]), "eu-central-1")
aws = BedrockProvider(ANTHROPIC_ON_BEDROCK, "aws", "https://aws.example", models=Models("big"), signer=signer)
app = RouteMiddleware(ProviderDispatch(BedrockMiddleware(site)), locator=Registry([aws]))
